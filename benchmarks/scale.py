"""How much is measured: a full run, or a quick one that shows that everything works."""

from __future__ import annotations

from dataclasses import dataclass

VALUE_BYTES = 500


@dataclass(frozen=True)
class Scale:
    """Counts of one run. A block of calls ends after `block_calls` or `block_seconds`, what comes first."""

    rounds: int
    long_rounds: int  # of blocks that take seconds, or of many rows
    block_calls: int
    block_seconds: float
    warm_up_calls: int
    entries: int  # those that latencies are measured over
    counting_seconds: float  # of one block in which calls a second are counted
    counting_warm_up_seconds: float
    zipf_entries: int
    many_entries: int  # what "growth" compares with `entries`
    memory_entries: int
    fresh_processes: int  # in which start-up is measured
    idle_seconds: float
    pause_seconds: float  # of a worker between two calls, on average


FULL = Scale(
    rounds=6,
    long_rounds=3,
    block_calls=1000,
    block_seconds=1.0,
    warm_up_calls=200,
    entries=1000,
    counting_seconds=1.0,
    counting_warm_up_seconds=0.3,
    zipf_entries=10_000,
    many_entries=1_000_000,
    memory_entries=100_000,
    fresh_processes=7,
    idle_seconds=20.0,
    pause_seconds=0.002,
)

QUICK = Scale(
    rounds=2,
    long_rounds=2,
    block_calls=60,
    block_seconds=0.05,
    warm_up_calls=20,
    entries=200,
    counting_seconds=0.1,
    counting_warm_up_seconds=0.05,
    zipf_entries=500,
    many_entries=5_000,
    memory_entries=2_000,
    fresh_processes=1,
    idle_seconds=1.0,
    pause_seconds=0.001,
)
