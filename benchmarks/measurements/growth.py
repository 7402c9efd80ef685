"""Whether a cache with many entries is slower than one with few: one of each, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.measurements.latency import time_block
from benchmarks.rounds import in_turns, summary_of_times

if TYPE_CHECKING:
    from benchmarks.stage import Stage

GROWING = ("standalone", "leader", "locmem")
CALLS = ("get", "set")
# What a million entries take with all that is stored beside them, and as much again.
SIZE_LIMIT = 3 << 30


def growth(stage: Stage) -> dict[str, Any]:
    """Where the caches that are there hold few entries, and new ones beside them hold many."""
    with stage.another("many", entries=stage.scale.many_entries, size_limit=SIZE_LIMIT) as large:
        stages = {"few": stage, "many": large}
        for one in stages.values():
            one.open_crews(GROWING)
            for name in GROWING:
                # Warm: the first read of a page of shared memory in a process is a page fault.
                one.crew(name).ask("read_all", entries=one.entries)
        places = [f"{name} {size}" for name in GROWING for size in stages]
        measured: dict[str, Any] = {name: {} for name in GROWING}
        for call in CALLS:

            def block(place: str, call: str = call) -> list[int]:
                name, size = place.split()
                return time_block(stages[size], name, call)

            for place, rounds in in_turns(places, stage.scale.rounds, block).items():
                name, size = place.split()
                measured[name][f"{call}_{size}"] = summary_of_times(rounds)
    return measured


MEASUREMENTS = {"growth": growth}
