"""The results of a run that was never made: every measurement with all that takes part in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from benchmarks.measurements import (
    MEASUREMENTS,
    costs,
    footprint,
    growth,
    hosts,
    latency,
    levels,
    pages,
    pauses,
    throughput,
)
from benchmarks.scale import FULL

TIMES = {
    "p50": 20.0,
    "p99": 90.0,
    "calls": 6,
    "p50_of_rounds": [18.0, 20.0, 25.0],
    "p99_of_rounds": [80.0, 90.0, 95.0],
}
RATES = {"rate": 400.0, "rate_of_rounds": [390.0, 400.0, 420.0]}
BOTH = RATES | TIMES


def each(names: Iterable[str], seen: Any) -> dict[str, Any]:
    return dict.fromkeys(names, seen)


def _throughput() -> dict[str, Any]:
    """Those whose names are arguments of a partial function: (names, size), or (kind, names, size)."""
    found = {}
    for name, measure in {**throughput.MEASUREMENTS, **pages.MEASUREMENTS}.items():
        timed = name.startswith(("writes", "quorum_writes"))
        found[name] = each(measure.args[-2], BOTH if timed else RATES)
    return found


def _network(one_way_us: int) -> dict[str, Any]:
    return {
        "delay": {
            "made_by": "netem",
            "round_trip_us": 2.0 * one_way_us,
            "cpu_percent": each(hosts.TOGETHER, 3.0),
        },
        "get": each(hosts.GETTING, TIMES),
        "set": each(hosts.SETTING, TIMES),
        "mixed_16": each(hosts.TOGETHER, RATES),
        "pages_half": each(hosts.TOGETHER, RATES),
        "pages_all": each(hosts.TOGETHER, RATES),
        "writes_16": each(hosts.WRITING, BOTH),
    }


MEASURED: dict[str, Any] = {
    **{call: each(names, TIMES) for call, names in latency.CALLS.items()},
    "aget": each(latency.CALLS["aget"], TIMES | {"get": TIMES}),
    "growth": each(
        growth.GROWING, {f"{call}_{size}": TIMES for call in growth.CALLS for size in ("few", "many")}
    ),
    **_throughput(),
    "levels": {level: each((*levels.OURS, peer), TIMES) for level, peer in levels.LEVELS.items()},
    "levels_16": {level: each(("cluster", peer), BOTH) for level, peer in levels.LEVELS.items()},
    "write_cost": {
        f"{name} {size}": {"rate": 400.0, "leader_us": 50.0, "follower_us": 30.0, "worker_us": 55.0}
        for name, size in costs.CLIENTS
    },
    "pauses": {what: each(pauses.NAMES, TIMES) for what in (*pauses.CALLS, pauses.PAGES)},
    "hosts": {str(one_way_us): _network(one_way_us) for one_way_us in hosts.ONE_WAY_US},
    "memory": each(
        footprint.REMEMBERING,
        {
            "resident_empty": 50_000_000,
            "empty": 60_000_000,
            "full": 120_000_000,
            "payload": 50_000_000,
            "times_payload": 1.2,
        },
    ),
    "start_up": each(
        footprint.STARTING, {"import_ms": 5.0, "first_use_ms": 7.0, "resident_mb": 3.0, "private_mb": 2.0}
    ),
    "idle": each(
        ("leader", "follower 1", "follower 2", "Redis, primary"), {"cpu_percent": 0.5, "seconds": 30.0}
    ),
}

MEASURED["levels_16"]["direct"]["cluster"] = BOTH | {"lost": 2}

RESULTS: dict[str, Any] = {
    "date": "2026-01-01",
    "command": "python -m benchmarks",
    "quick": False,
    "facts": {"cores": 2, "memory_gb": 25, "Linux": "6.18"},
    "scale": asdict(FULL),
    "remarks": [],
    "seconds": 600,
    "measurements": {name: MEASURED[name] for name in MEASUREMENTS},
}
