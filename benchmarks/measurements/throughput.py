"""What is done a second: by one worker, and by many at once."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks import proc
from benchmarks.backends import ACKNOWLEDGED, OURS, REFERENCE
from benchmarks.rounds import in_turns, summary_of_rates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.cluster import Host
    from benchmarks.crew import Crew
    from benchmarks.stage import Stage

SIZES = (4, 16)
ENTRIES = 1000
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


def write_costs(stage: Stage) -> Measured:
    """What a write at quorum takes with one process that writes, and with several."""
    hosts, seconds = stage.three_nodes.hosts, stage.scale.counting_seconds
    return {
        f"{size} process{'es' * (size > 1)}": write_cost(
            hosts, stage.leader, stage.crew("cluster", size), seconds
        )
        for size in (1, *SIZES)
    }


def write_cost(hosts: Sequence[Host], leader: Host, crew: Crew, seconds: float) -> dict[str, float]:
    """Microseconds of CPU that a write at quorum takes, by who takes them: that is what limits a cluster."""
    crew.ask("count_calls", start=0, end=0, call="set", entries=ENTRIES)
    nodes, workers = [host.node.pid for host in hosts], proc.with_children(crew.pids)
    before = {pid: proc.cpu_seconds(pid) for pid in (*nodes, *workers)}
    start = time.monotonic()
    rate = sum(crew.ask("count_calls", start=start, end=start + seconds, call="set", entries=ENTRIES))
    took = {pid: (proc.cpu_seconds(pid) - spent) * 1e6 / (rate * seconds) for pid, spent in before.items()}
    followers = [took[pid] for pid in nodes if pid != leader.node.pid]
    return {
        "rate": rate,
        "leader_us": round(took[leader.node.pid], 1),
        "follower_us": round(sum(followers) / max(len(followers), 1), 1),
        "worker_us": round(sum(took[pid] for pid in workers), 1),
    }


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


MEASUREMENTS: dict[str, Callable[[Stage], dict[str, Any]]] = {
    "mixed_1": partial(mixed, MIXED_ALONE, 1),
    **{f"mixed_{size}": partial(mixed, MIXED_TOGETHER, size) for size in SIZES},
    **{f"quorum_writes_{size}": partial(quorum_writes, size) for size in SIZES},
    "write_cost": write_costs,
    "pages": pages,
}
