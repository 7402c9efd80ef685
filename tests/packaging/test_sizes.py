"""One idea a module, and a function fits a screen: what is longer is on a list that only gets shorter."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
MODULES = {
    str(path.relative_to(ROOT)): path
    for folder in ("django_hacache", "benchmarks", "testproject", "tests", "proto", ".ci")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "wire" not in path.parts  # generated
}
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 50

# What is still longer, and how long it may be. A line goes as soon as it is not needed.
LONG_MODULES = {
    "tests/simulation/host.py": 502,
    "tests/simulation/invariants.py": 442,
}
LONG_FUNCTIONS = {
    "django_hacache/system/safe_path.py:walk": 55,
    "tests/faults/measurements/limits.py:_measure": 56,
    "tests/fuzz/seeds.py:lives": 92,
    "tests/simulation/host.py:__init__": 53,
}


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Every function of a module, and its lines from its name on: decorators are tables of data at times."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def too_long(lengths: dict[str, int], usual: int, allowed: dict[str, int]) -> dict[str, int]:
    return {name: length for name, length in lengths.items() if length > allowed.get(name, usual)}


def not_needed(lengths: dict[str, int], usual: int, allowed: dict[str, int]) -> list[str]:
    return [name for name in allowed if lengths.get(name, 0) <= usual]


def module_lengths() -> dict[str, int]:
    return {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}


@cache
def function_lengths() -> dict[str, int]:
    longest: dict[str, int] = {}
    for module, path in MODULES.items():
        for function, length in functions(path):
            name = f"{module}:{function}"
            longest[name] = max(length, longest.get(name, 0))
    return longest


def test_no_module_is_longer_than_one_idea_takes() -> None:
    lengths = module_lengths()
    assert len(lengths) > 200
    assert too_long(lengths, MODULE_LINES_MAX, LONG_MODULES) == {}


def test_every_function_fits_a_screen() -> None:
    lengths = function_lengths()
    assert len(lengths) > 2000
    assert too_long(lengths, FUNCTION_LINES_MAX, LONG_FUNCTIONS) == {}


def test_nothing_is_excused_that_is_short_enough_or_gone() -> None:
    assert not_needed(module_lengths(), MODULE_LINES_MAX, LONG_MODULES) == []
    assert not_needed(function_lengths(), FUNCTION_LINES_MAX, LONG_FUNCTIONS) == []
