"""What waiting for others costs: one write at each of the levels at which it can be acknowledged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.backends import ACKNOWLEDGED, ACKNOWLEDGED_BY_ALL, REPLICATED, UNANSWERED
from benchmarks.measurements.latency import time_block
from benchmarks.rounds import in_turns, summary_of_both, summary_of_times

if TYPE_CHECKING:
    from benchmarks.stage import Stage

# With what a Redis user would take for it.
LEVELS = {
    "direct": UNANSWERED,
    "leader": REPLICATED,
    "quorum": ACKNOWLEDGED,
    "all": ACKNOWLEDGED_BY_ALL,
}
OURS = ("leader", "other")
# On a busy cluster.
TOGETHER = 16


def levels(stage: Stage) -> dict[str, Any]:
    """By level and backend: one worker whose cluster does nothing else."""
    stage.open_crews((*OURS, *LEVELS.values()))
    rows = [f"{level} {name}" for level, peer in LEVELS.items() for name in (*OURS, peer)]

    def block(row: str) -> list[int]:
        level, name = row.split()
        return time_block(stage, name, "set", **({"ack": level} if name in OURS else {}))

    rounds = in_turns(rows, stage.scale.long_rounds, block)
    return _by_level({row: summary_of_times(blocks) for row, blocks in rounds.items()})


def levels_together(stage: Stage) -> dict[str, Any]:
    """The same of many workers on all hosts, which write all the time."""
    rows = [f"{level} {name}" for level, peer in LEVELS.items() for name in ("cluster", peer)]
    arguments = {"call": "set", "entries": stage.entries}

    def block(row: str) -> tuple[float, list[int]]:
        level, name = row.split()
        ack = {"ack": level} if name == "cluster" else {}
        return stage.time_together(stage.crew(name, TOGETHER), **arguments, **ack)

    for name in ("cluster", *LEVELS.values()):
        stage.crew(name, TOGETHER).ask("time_together", start=0, end=0, **arguments)
    lost = stage.three_nodes.lost_writes()
    rounds = in_turns(rows, stage.scale.long_rounds, block)
    seen = _by_level({row: summary_of_both(blocks) for row, blocks in rounds.items()})
    seen["direct"]["cluster"]["lost"] = stage.three_nodes.lost_writes() - lost
    return seen


def _by_level(rows: dict[str, Any]) -> dict[str, Any]:
    seen: dict[str, Any] = {level: {} for level in LEVELS}
    for row, summary in rows.items():
        level, name = row.split()
        seen[level][name] = summary
    return seen


MEASUREMENTS = {"levels": levels, "levels_16": levels_together}
