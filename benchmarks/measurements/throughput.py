"""What is done a second: by one worker, and by many at once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.backends import ACKNOWLEDGED, OURS, REFERENCE
from benchmarks.rounds import in_turns, summary_of_rates

if TYPE_CHECKING:
    from benchmarks.stage import Stage

SIZES = (4, 16)
# Blocks of many workers are long, so fewer rounds do.
ROUNDS_PER_BLOCK = 3

WRITERS = ("leader", "other", "cluster", ACKNOWLEDGED, REFERENCE)
MIXED_ALONE = (*OURS, REFERENCE, "redis", "pymemcache", "pylibmc", "locmem", "diskcache")
MIXED_TOGETHER = ("standalone", "leader", "cluster", REFERENCE, "pylibmc")
PAGES = (*OURS, REFERENCE, "redis", "pymemcache", "pylibmc", "locmem", "diskcache")

Measured = dict[str, Any]


def quorum_writes(size: int, stage: Stage) -> Measured:
    """Acknowledged set() calls of `size` processes together."""
    return _counted(stage, WRITERS, size, "count_calls", call="set", entries=stage.entries)


def mixed(names: tuple[str, ...], size: int, stage: Stage) -> Measured:
    """Reads and writes, 95 to 5, of `size` processes together."""
    entries = stage.scale.zipf_entries
    fillers = ["leader" if name == "cluster" else name for name in names]
    stage.open_crews(fillers)
    for name in fillers:
        stage.crew(name).ask("fill", entries=entries)
    return _counted(stage, names, size, "count_mixed", entries=entries)


def pages(stage: Stage) -> Measured:
    """Pages of a Django site, made by one process."""
    return _counted(stage, PAGES, 1, "count_pages")


def _counted(stage: Stage, names: tuple[str, ...], size: int, do: str, **arguments: Any) -> Measured:
    stage.open_crews(names, size)
    for name in names:
        # Not counted: it connects, and makes the list of calls.
        stage.crew(name, size).ask(do, start=0, end=0, **arguments)
    rounds = in_turns(
        names, _rounds(stage), lambda name: stage.count(stage.crew(name, size), do, **arguments)
    )
    return {name: summary_of_rates(rates) for name, rates in rounds.items()}


def _rounds(stage: Stage) -> int:
    return max(2, stage.scale.rounds // ROUNDS_PER_BLOCK)


MEASUREMENTS = {
    "mixed_1": partial(mixed, MIXED_ALONE, 1),
    **{f"mixed_{size}": partial(mixed, MIXED_TOGETHER, size) for size in SIZES},
    **{f"quorum_writes_{size}": partial(quorum_writes, size) for size in SIZES},
    "pages": pages,
}
