"""Every input of the corpora, without a fuzzer: those that are real, and those that once broke something."""

from __future__ import annotations

import logging

import pytest

from .harnesses import HARNESSES
from .seeds import CORPUS

INPUTS = sorted(path.relative_to(CORPUS) for path in CORPUS.glob("*/*"))


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("path", INPUTS, ids=str)
def test_whatever_came_the_node_and_the_readers_go_on(path):
    HARNESSES[path.parent.name].run((CORPUS / path).read_bytes())


def test_every_harness_has_a_corpus():
    assert {path.parent.name for path in INPUTS} == set(HARNESSES)
