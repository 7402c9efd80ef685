"""What is done a second: by one worker, and by many at once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.backends import ACKNOWLEDGED, ALL, BEST_REDIS, OURS, REFERENCE, TRACKING
from benchmarks.rounds import in_turns, summary_of_both, summary_of_rates

if TYPE_CHECKING:
    from benchmarks.stage import Stage

SIZES = (4, 16)

WRITERS = ("leader", "other", "cluster", ACKNOWLEDGED, REFERENCE)
WRITERS_ALONE = ("standalone", REFERENCE, BEST_REDIS, "pylibmc", "locmem")
MIXED_ALONE = (
    *OURS,
    REFERENCE,
    "redis",
    BEST_REDIS,
    TRACKING,
    "pymemcache",
    "pylibmc",
    "locmem",
    "diskcache",
)
MIXED_TOGETHER = ("standalone", "leader", "cluster", REFERENCE, BEST_REDIS, TRACKING, "pylibmc")

Measured = dict[str, Any]


def writes(names: tuple[str, ...], size: int, stage: Stage) -> Measured:
    """set() calls of `size` processes together: how many, and how long each of them takes."""
    stage.open_crews(names, size)
    arguments = {"call": "set", "entries": stage.entries}
    for name in names:
        # Not counted: it connects, and makes the list of calls.
        stage.crew(name, size).ask("time_together", start=0, end=0, **arguments)
    rounds = in_turns(
        names,
        stage.scale.long_rounds,
        lambda name: stage.time_together(stage.crew(name, size), **arguments),
    )
    return {name: summary_of_both(blocks) for name, blocks in rounds.items()}


def mixed(names: tuple[str, ...], size: int, stage: Stage) -> Measured:
    """Reads and writes, 95 to 5, of `size` processes together."""
    entries = stage.scale.zipf_entries
    # One of them is enough where several share a cache.
    fillers = ["leader" if name == "cluster" else name.removesuffix(ALL) for name in names]
    stage.open_crews(fillers)
    for name in fillers:
        stage.crew(name).ask("fill", entries=entries)
    return counted(stage, names, size, "count_mixed", entries=entries)


def counted(stage: Stage, names: tuple[str, ...], size: int, do: str, **arguments: Any) -> Measured:
    """What `do` does a second with each backend."""
    stage.open_crews(names, size)
    for name in names:
        stage.crew(name, size).ask(do, start=0, end=0, **arguments)
    rounds = in_turns(
        names,
        stage.scale.long_rounds,
        lambda name: stage.count(stage.crew(name, size), do, **arguments),
    )
    return {name: summary_of_rates(rates) for name, rates in rounds.items()}


MEASUREMENTS: dict[str, partial[dict[str, Any]]] = {
    "mixed_1": partial(mixed, MIXED_ALONE, 1),
    **{f"mixed_{size}": partial(mixed, MIXED_TOGETHER, size) for size in SIZES},
    **{f"writes_{size}": partial(writes, WRITERS_ALONE, size) for size in SIZES},
    **{f"quorum_writes_{size}": partial(writes, WRITERS, size) for size in SIZES},
}
