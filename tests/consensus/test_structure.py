"""What the core says of itself: who writes what, and which test falls without a line."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from django_hacache import consensus
from tests.consensus import (
    test_fresh_nodes,
    test_late_words,
    test_replication,
    test_retries,
    test_transfer_bugs,
    test_transfers,
    test_traps,
)
from tests.simulation import test_mutations

ROOM = Path(consensus.__file__).parent
SOURCES = {str(path.relative_to(ROOM)): path.read_text() for path in ROOM.rglob("*.py")}
WRITTEN_BY_ROLES = {"role", "leader", "handover", "term", "vote"}
PROTECTED = re.compile(r"Protected: ((?:\w+)(?:,\s*(?:# )?\w+)*)")


def written(source: str) -> set[str]:
    """What a module changes of a NodeState, and of the HardState in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(ast.Name("state") | ast.Attribute(_, "_state" | "state"), name, ast.Store()):
                names.add(name)
            case ast.Call(ast.Attribute(_, "harden")):
                names.update(keyword.arg for keyword in node.keywords if keyword.arg)
    return names


def test_one_module_writes_role_leader_term_and_vote():
    writers = {name for name, source in SOURCES.items() if written(source) & WRITTEN_BY_ROLES}
    assert writers == {"roles.py"}
    assert written(SOURCES["roles.py"]) >= WRITTEN_BY_ROLES


def protected() -> dict[str, str]:
    """The script, or the deliberate bug, that a line names, and the module of the line."""
    return {
        name: module
        for module, source in SOURCES.items()
        for names in PROTECTED.findall(source)
        for name in re.findall(r"\w+", names)
    }


def test_each_protected_line_names_a_script_or_a_bug_that_there_is():
    scripts = {script for tests in (test_traps, test_late_words) for script in tests.PLANS}
    scripts |= {
        script for tests in (test_traps, test_late_words, test_transfer_bugs) for _, script in tests.BUGS
    }
    known = {
        each.__name__ for each in (*scripts, *test_transfer_bugs.SCHEDULES, *test_mutations.FOUND_BY_LIVES)
    }
    known |= {
        name
        for tests in (test_fresh_nodes, test_replication, test_retries, test_transfers)
        for name in vars(tests)
    }
    assert {name: module for name, module in protected().items() if name not in known} == {}


def test_each_script_that_a_bug_walks_into_is_named_by_the_line_that_prevents_it():
    scripts = {
        script for tests in (test_traps, test_late_words, test_transfer_bugs) for _, script in tests.BUGS
    }
    assert {script.__name__ for script in scripts} - set(protected()) == set()
