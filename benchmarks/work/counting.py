"""Counts what a worker does a second, in a span of time that all workers of a crew share."""

from __future__ import annotations

import functools
import itertools
import random
import time
from collections.abc import Callable, Iterator
from operator import methodcaller
from typing import Any

from django.core.cache import cache

from benchmarks.work.calls import BLOCKS, insist, is_done, is_hit, wait_for_all
from benchmarks.work.population import key, value

ZIPF_EXPONENT = 0.99  # that of the YCSB benchmarks
READS = 95  # of a hundred calls
SEQUENCE = 10_000


Call = tuple[Callable[[Any], Any], Callable[[Any], bool]]
Calls = list[Call]


def count_calls(call: str, start: float, end: float, entries: int) -> float:
    """One call of the cache, over and over."""
    return rate(_calls(call, entries), start, end)


def time_together(call: str, start: float, end: float, entries: int, **options: Any) -> dict[str, Any]:
    """The same, and the nanoseconds of each of the calls."""
    return timed_rate(_calls(call, entries, **options), start, end)


def count_mixed(start: float, end: float, entries: int) -> float:
    """Reads and writes of keys of which few are asked for often and many seldom."""
    return rate(_mixed_calls(entries), start, end)


@functools.cache
def _calls(call: str, entries: int, **options: Any) -> Calls:
    block = BLOCKS[call](SEQUENCE, entries, **options)
    return [(make, block.is_right) for make in block.calls]


@functools.cache
def _mixed_calls(entries: int) -> Calls:
    weights = itertools.accumulate(1 / rank**ZIPF_EXPONENT for rank in range(1, entries + 1))
    numbers = random.choices(range(entries), cum_weights=list(weights), k=SEQUENCE)
    return [
        (methodcaller("get", key(number)), is_hit)
        if random.randrange(100) < READS
        else (methodcaller("set", key(number), value(number)), is_done)
        for number in numbers
    ]


def rate(calls: Calls, start: float, end: float) -> float:
    """How many of `calls`, made in turn, are done a second between two instants of the monotonic clock.

    They begin at once: those before `start` warm up.
    """
    again = _warm(calls, start)
    count, began = 0, time.monotonic()
    while True:
        _make(*next(again))
        count += 1
        passed = time.monotonic()
        if passed >= end:
            return count / (passed - began)


def timed_rate(calls: Calls, start: float, end: float) -> dict[str, Any]:
    """The same, and how long each of them took. It is over when all is done, also what nobody has waited for."""
    again = _warm(calls, start)
    taken: list[int] = []
    first = time.monotonic_ns()
    while True:
        began = time.monotonic_ns()
        _make(*next(again))
        ended = time.monotonic_ns()
        taken.append(ended - began)
        if ended >= end * 1e9:
            wait_for_all()
            return {"rate": len(taken) * 1e9 / (time.monotonic_ns() - first), "taken": taken}


def _warm(calls: Calls, start: float) -> Iterator[Call]:
    again = itertools.cycle(calls)
    while time.monotonic() < start:
        _make(*next(again))
    return again


def _make(make: Callable[[Any], Any], is_right: Callable[[Any], bool]) -> None:
    if not is_right(make(cache)):
        insist(make, is_right)
