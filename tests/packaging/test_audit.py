"""What `make audit` makes of an answer: it fails on a finding, and on nothing else."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[2] / ".ci" / "audit.py"


@pytest.fixture(scope="module")
def audit():
    spec = importlib.util.spec_from_file_location("audit", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def answer(*dependencies):
    return json.dumps({"dependencies": dependencies, "fixes": []})


SAFE = {"name": "safe", "version": "1", "vulns": []}
BAD = {"name": "bad", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
UNKNOWN = {"name": "unknown", "skip_reason": "not found"}


def test_a_finding_fails_and_is_named_with_what_mends_it(audit):
    found = audit.verdict(answer(SAFE, BAD, UNKNOWN))
    assert found.failed
    assert "bad 2: PYSEC-1, fixed in 3" in found.text


def test_nothing_found_passes_and_says_how_much_was_looked_up(audit):
    found = audit.verdict(answer(SAFE, UNKNOWN))
    assert (found.failed, found.known) == (False, True)
    assert "1 packages looked up, 1 could not be" in found.text


@pytest.mark.parametrize("printed", ["", "Traceback", "[]", answer(UNKNOWN, UNKNOWN), answer()])
def test_where_nothing_could_be_looked_up_that_is_no_answer(audit, printed):
    found = audit.verdict(printed)
    assert (found.failed, found.known) == (False, False)


def test_without_any_service_it_says_so_and_passes(audit, monkeypatch, capsys):
    monkeypatch.setattr(audit, "ask", lambda service: "")
    assert audit.main() == 0
    assert "NOT DONE" in capsys.readouterr().out


def test_the_second_service_is_asked_where_the_first_one_knows_nothing(audit, monkeypatch):
    answers = {"pypi": answer(UNKNOWN), "osv": answer(BAD)}
    monkeypatch.setattr(audit, "ask", answers.get)
    assert audit.main() == 1


def test_what_was_decided_not_to_concern_us_does_not_fail(audit, monkeypatch):
    monkeypatch.setattr(audit, "IGNORED", {"PYSEC-1": "not used"})
    assert not audit.verdict(answer(BAD)).failed
