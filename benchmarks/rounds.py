"""Interleaving: every round visits every backend, each time beginning with another one."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


def in_turns(names: Sequence[str], rounds: int, block: Callable[[str], T]) -> dict[str, list[T]]:
    """What `block` returned for each name in each round."""
    seen: dict[str, list[T]] = {name: [] for name in names}
    for turn in range(rounds):
        first = turn % len(names)
        for name in [*names[first:], *names[:first]]:
            seen[name].append(block(name))
    return seen


def summary_of_times(rounds: Sequence[Sequence[int]]) -> dict[str, Any]:
    """What is kept of the nanoseconds of all calls in all rounds, in microseconds."""
    taken = sorted(one for block in rounds for one in block)
    return {
        "p50": _us(statistics.median(taken)),
        "p99": _us(taken[min(len(taken) * 99 // 100, len(taken) - 1)]),
        "calls": len(taken),
        "p50_of_rounds": [_us(statistics.median(block)) for block in rounds],
    }


def summary_of_rates(rounds: Sequence[float]) -> dict[str, Any]:
    return {"rate": round(statistics.median(rounds), 1), "rate_of_rounds": [round(one, 1) for one in rounds]}


def _us(nanoseconds: float) -> float:
    return round(nanoseconds / 1000, 3)
