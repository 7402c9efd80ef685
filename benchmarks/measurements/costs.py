"""What an acknowledged write takes of everybody's CPU: that is what limits a cluster."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from benchmarks import proc
from benchmarks.backends import ACKNOWLEDGED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.crew import Crew
    from benchmarks.stage import Stage

ENTRIES = 1000
# Backend and processes.
CLIENTS = (
    ("leader", 1),
    ("other", 1),
    ("cluster", 4),
    ("cluster", 16),
    (ACKNOWLEDGED, 1),
    (ACKNOWLEDGED, 16),
)


def write_costs(stage: Stage) -> dict[str, Any]:
    """By backend and number of processes that write."""
    return {
        f"{name} {size}": write_cost(
            *_servers(stage, name), stage.crew(name, size), 2 * stage.scale.counting_seconds
        )
        for name, size in CLIENTS
    }


def _servers(stage: Stage, name: str) -> tuple[int, list[int]]:
    """The process that decides, and those that follow."""
    if name == ACKNOWLEDGED:
        primary, *replicas = stage.replicated_redis
        return primary.pid, [replica.pid for replica in replicas]
    followers = [host.node.pid for host in stage.three_nodes.hosts if host is not stage.leader]
    return stage.leader.node.pid, followers


def write_cost(leader: int, followers: Sequence[int], crew: Crew, seconds: float) -> dict[str, float]:
    """Microseconds of CPU of one write, by who takes them."""
    crew.ask("count_calls", start=0, end=0, call="set", entries=ENTRIES)
    workers = proc.with_children(crew.pids)
    before = {pid: proc.cpu_seconds(pid) for pid in (leader, *followers, *workers)}
    start = time.monotonic()
    rate = sum(crew.ask("count_calls", start=start, end=start + seconds, call="set", entries=ENTRIES))
    took = {pid: (proc.cpu_seconds(pid) - spent) * 1e6 / (rate * seconds) for pid, spent in before.items()}
    return {
        "rate": rate,
        "leader_us": round(took[leader], 1),
        "follower_us": round(sum(took[pid] for pid in followers) / max(len(followers), 1), 1),
        "worker_us": round(sum(took[pid] for pid in workers), 1),
    }


MEASUREMENTS = {"write_cost": write_costs}
