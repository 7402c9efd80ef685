"""The keys and values that every backend holds: 500 random bytes each, the same in every process."""

from __future__ import annotations

import itertools
import os
import random
from typing import TYPE_CHECKING

from django.core.cache import cache

from benchmarks.scale import VALUE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = 1000

_random = random.Random(1)
VALUES = [_random.randbytes(VALUE_BYTES) for _ in range(100)]
_fresh = itertools.count()


def key(number: int) -> str:
    return f"article:{number}:summary"


def value(number: int) -> bytes:
    return VALUES[number % len(VALUES)]


def fresh_keys(count: int) -> list[str]:
    """Keys that no process has used before."""
    return [f"article:{os.getpid()}-{next(_fresh)}:summary" for _ in range(count)]


def fill(entries: int) -> None:
    """Store the entries 0 to `entries`, and nothing else."""
    for batch in batches(0, entries):
        cache.set_many(batch)


def batches(first: int, last: int) -> Iterator[dict[str, bytes]]:
    for start in range(first, last, BATCH):
        yield {key(number): value(number) for number in range(start, min(start + BATCH, last))}


def read_all(entries: int) -> int:
    """How many of the entries 0 to `entries` are there; touches every one of them."""
    return sum(len(cache.get_many(list(batch))) for batch in batches(0, entries))


def read_each(entries: int) -> None:
    """Get them one by one: who keeps what it has read keeps all of them then."""
    for number in range(entries):
        cache.get(key(number))
