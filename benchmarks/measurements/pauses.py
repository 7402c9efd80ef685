"""Calls and pages of a worker that sleeps between them: most of a site's do, and then everybody has to wake up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.backends import ACKNOWLEDGED, BEST_REDIS, REPLICATED
from benchmarks.measurements.latency import time_block
from benchmarks.rounds import in_turns, summary_of_times

if TYPE_CHECKING:
    from benchmarks.stage import Stage

NAMES = ("standalone", "leader", "other", REPLICATED, ACKNOWLEDGED, BEST_REDIS)
CALLS = ("get", "set")
PAGES = "pages_half"


def pauses(stage: Stage) -> dict[str, Any]:
    """By what is done and backend."""
    stage.open_crews(NAMES)

    def block(name: str) -> dict[str, list[int]]:
        called = {call: time_block(stage, name, call, pause=stage.scale.pause_seconds) for call in CALLS}
        return called | {PAGES: _time_pages(stage, name)}

    rounds = in_turns(NAMES, stage.scale.long_rounds, block)
    return {
        call: {name: summary_of_times([block[call] for block in blocks]) for name, blocks in rounds.items()}
        for call in (*CALLS, PAGES)
    }


def _time_pages(stage: Stage, name: str) -> list[int]:
    scale = stage.scale
    taken: list[int]
    [taken] = stage.crew(name).ask(
        "time_pages",
        kind=PAGES,
        count=scale.block_calls,
        warm_up=scale.warm_up_calls // 10,
        seconds=scale.block_seconds,
        pause=scale.pause_seconds,
    )
    return taken


MEASUREMENTS = {"pauses": pauses}
