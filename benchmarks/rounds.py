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
    taken = [one for block in rounds for one in block]
    return {
        "p50": _us(statistics.median(taken)),
        "p99": _us(_p99(taken)),
        "calls": len(taken),
        "p50_of_rounds": [_us(statistics.median(block)) for block in rounds],
        "p99_of_rounds": [_us(_p99(block)) for block in rounds],
    }


def _p99(taken: Sequence[int]) -> int:
    """What one call in a hundred exceeds."""
    return sorted(taken)[min(len(taken) * 99 // 100, len(taken) - 1)]


def summary_of_rates(rounds: Sequence[float]) -> dict[str, Any]:
    return {"rate": round(statistics.median(rounds), 1), "rate_of_rounds": [round(one, 1) for one in rounds]}


def summary_of_both(rounds: Sequence[tuple[float, Sequence[int]]]) -> dict[str, Any]:
    """What is kept of how many calls a second there were, and of the nanoseconds of each."""
    times = summary_of_times([taken for _, taken in rounds])
    return summary_of_rates([rate for rate, _ in rounds]) | times


def _us(nanoseconds: float) -> float:
    return round(nanoseconds / 1000, 3)
