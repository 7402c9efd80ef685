"""Three hosts with a network between them: what a site has that is not all on one machine.

Redis has its primary on the first host and a replica on each of the others; there is a site on all three.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

from benchmarks.backends import ACKNOWLEDGED, ALL, FAR, REPLICATED, TRACKING
from benchmarks.measurements.latency import time_calls
from benchmarks.measurements.pages import pages
from benchmarks.measurements.throughput import mixed, writes
from benchmarks.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.network import Delay
    from benchmarks.stage import Stage

Measured = dict[str, Any]

ONE_WAY_US = (250, 100)
NEAR = "near"
GETTING = ("leader", "other", REPLICATED, REPLICATED + FAR, NEAR + FAR, TRACKING + FAR)
SETTING = ("leader", "other", REPLICATED + FAR, ACKNOWLEDGED, ACKNOWLEDGED + FAR)
TOGETHER = ("cluster", REPLICATED + ALL, NEAR + ALL, TRACKING + ALL, ACKNOWLEDGED + ALL)
WRITING = ("cluster", "other", ACKNOWLEDGED + ALL, ACKNOWLEDGED + FAR)
ROUND_TRIPS = 200


def time_call(call: str, names: Sequence[str], stage: Stage) -> Measured:
    return time_calls(call, names, stage.scale.long_rounds, stage)


BRIEFLY: dict[str, Callable[[Stage], Measured]] = {
    "get": lambda stage: time_call("get", GETTING, stage),
    "set": lambda stage: time_call("set", SETTING, stage),
    "pages_half": lambda stage: pages("pages_half", TOGETHER, 3, stage),
}
# Only with the first of the delays.
FURTHER: dict[str, Callable[[Stage], Measured]] = {
    "mixed_16": lambda stage: mixed(TOGETHER, 16, stage),
    "pages_all": lambda stage: pages("pages_all", TOGETHER, 3, stage),
    "writes_16": lambda stage: writes(WRITING, 16, stage),
}


def hosts(stage: Stage) -> Measured:
    """By the microseconds that a packet takes one way: how that comes to be, and each measurement."""
    with (
        Network() as network,
        stage.another("hosts", entries=stage.entries, places=network.places) as spread,
    ):
        measured: Measured = {}
        for one_way_us in ONE_WAY_US:
            delay = network.delay(one_way_us)
            measurements = {**BRIEFLY, **(FURTHER if one_way_us == ONE_WAY_US[0] else {})}
            seen = {name: measure(spread) for name, measure in measurements.items()}
            made = {
                "made_by": delay.name,
                "round_trip_us": _round_trip_us(spread),
                "cpu_percent": {name: _share(delay, spread, name) for name in TOGETHER},
            }
            measured[str(one_way_us)] = {"delay": made, **seen}
        return measured


def _share(delay: Delay, stage: Stage, name: str) -> float:
    """Percent of a core that the delay takes while workers on all hosts make mixed calls."""
    began, spent = time.monotonic(), delay.cpu_seconds()
    stage.count(stage.crew(name, 16), "count_mixed", entries=stage.scale.zipf_entries)
    return round(100 * (delay.cpu_seconds() - spent) / (time.monotonic() - began), 1)


def _round_trip_us(stage: Stage) -> float:
    """What a packet and its answer really take, with a Redis that has nothing else to do."""
    primary = stage.replicated_redis[0]
    taken: list[int]
    [taken] = stage.crew(REPLICATED + FAR).ask(
        "time_round_trips", ip=primary.ip, port=primary.port, count=ROUND_TRIPS
    )
    return round(statistics.median(taken) / 1000, 1)


MEASUREMENTS = {"hosts": hosts}
