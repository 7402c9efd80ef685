"""`manage.py hacache_node`: what it does before there is a node."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command

LOGGER = logging.getLogger("django_hacache")


@pytest.fixture(autouse=True)
def level(settings: Any) -> Iterator[None]:
    """A site without hosts, whose command ends once it has seen to the log; and the level as it was."""
    settings.HACACHE = {"HA_MODE": False}
    before, handlers = LOGGER.level, list(LOGGER.handlers)
    LOGGER.setLevel(logging.NOTSET)
    yield
    LOGGER.setLevel(before)
    LOGGER.handlers[:] = handlers


def level_after(**options: Any) -> int:
    with pytest.raises(CommandError, match="HA_HOSTS"):
        call_command("hacache_node", **options)
    return LOGGER.level


def test_it_logs_what_it_does_where_the_project_says_nothing() -> None:
    assert level_after() == logging.INFO


def test_the_level_of_the_project_s_logging_stays() -> None:
    LOGGER.setLevel(logging.ERROR)
    assert level_after() == logging.ERROR


def test_verbosity_2_is_for_debugging_whatever_the_project_says() -> None:
    LOGGER.setLevel(logging.ERROR)
    assert level_after(verbosity=2) == logging.DEBUG
