"""A conftest has fixtures and hooks, nothing that is imported: who reads a test finds each name where it is defined."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
CONFTESTS = sorted(TESTS.rglob("conftest.py"))


def is_fixture_or_hook(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
    return function.name.startswith("pytest_") or any(one.startswith("pytest.fixture") for one in decorators)


@pytest.mark.parametrize("conftest", CONFTESTS, ids=lambda path: str(path.relative_to(TESTS)))
def test_a_conftest_defines_fixtures_and_hooks_only(conftest: Path) -> None:
    defined = [
        node.name
        for node in ast.parse(conftest.read_text()).body
        if isinstance(node, ast.ClassDef)
        or (isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_fixture_or_hook(node))
    ]
    assert defined == []


def test_nothing_is_imported_from_a_conftest() -> None:
    imports = [
        f"{path.relative_to(TESTS)}: {ast.unparse(node)}"
        for path in TESTS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom) and "conftest" in ast.unparse(node)
    ]
    assert imports == []
