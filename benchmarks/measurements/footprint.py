"""What the caches cost beside time: memory, start-up, an idle node's CPU."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from benchmarks import proc
from benchmarks.backends import BACKENDS, REFERENCE
from benchmarks.rounds import in_turns
from benchmarks.scale import VALUE_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.stage import Stage

Measured = dict[str, Any]

REMEMBERING = ("standalone", "leader", REFERENCE, "pylibmc")
STARTING = ("standalone", "leader", REFERENCE, "redis", "pymemcache", "pylibmc", "locmem", "diskcache")


def memory(stage: Stage) -> Measured:
    """Servers, nodes and one worker each, empty and full; nothing ran on them before."""
    entries = stage.scale.memory_entries
    measured = {}
    with stage.another("memory", entries=0) as new:
        new.open_crews(REMEMBERING)
        for name in REMEMBERING:
            crew = new.crew(name)
            pids, directory = _servers(new, name)
            # Connects, and imports what only a first call imports.
            crew.ask("time_calls", call="set", count=1, warm_up=0, seconds=1, entries=1)
            empty = proc.memory([*pids, *crew.pids], directory)
            resident = [proc.rollup(pid)["Rss"] for pid in pids]
            crew.ask("fill", entries=entries)
            crew.ask("read_all", entries=entries)
            full = proc.memory([*pids, *crew.pids], directory)
            payload = entries * VALUE_BYTES
            measured[name] = {
                "resident_empty": sum(resident),
                "empty": empty,
                "full": full,
                "payload": payload,
                "times_payload": round((full - empty) / payload, 3),
            }
    return measured


def _servers(stage: Stage, name: str) -> tuple[list[int], Path | None]:
    """The processes beside the worker, and the directory with what they share."""
    match name:
        case "standalone":
            return [], stage.directory / "standalone"
        case "leader":
            return [stage.leader.node.pid], stage.leader.location
        case "pylibmc":
            return [stage.memcached.pid], None
        case _:
            return [stage.redis.pid], None


def start_up(stage: Stage) -> Measured:
    """What a backend adds to a worker that has loaded Django: in fresh processes, with caches that are empty.

    What a worker maps of a replica is resident in it, yet all processes of the host share it: see `memory`.
    """

    def block(name: str) -> dict[str, float]:
        environment = {**BACKENDS[name].sites(new)[0].environment, "BENCHMARK_BARE": "1"}
        command = [sys.executable, "-m", "benchmarks.start_up"]
        ran = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        found: dict[str, float] = json.loads(ran.stdout)
        return found

    with stage.another("start-up", entries=0) as new:
        rounds = in_turns(STARTING, stage.scale.fresh_processes, block)
    return {
        name: {field: round(statistics.median(one[field] for one in seen), 3) for field in seen[0]}
        for name, seen in rounds.items()
    }


def idle(stage: Stage) -> Measured:
    """Percent of a core that each of three nodes takes while nobody calls, and a Redis with its replicas."""
    processes = _idlers(stage)
    before = {name: proc.cpu_seconds(pid) for name, pid in processes.items()}
    began = time.monotonic()
    time.sleep(stage.scale.idle_seconds)
    passed = time.monotonic() - began
    return {
        name: {
            "cpu_percent": round(100 * (proc.cpu_seconds(pid) - before[name]) / passed, 3),
            "seconds": round(passed, 1),
        }
        for name, pid in processes.items()
    }


def _idlers(stage: Stage) -> dict[str, int]:
    followers = [host for host in stage.three_nodes.hosts if host is not stage.leader]
    primary, *replicas = stage.replicated_redis
    return {
        "leader": stage.leader.node.pid,
        **{f"follower {number}": host.node.pid for number, host in enumerate(followers, 1)},
        "Redis, primary": primary.pid,
        **{f"Redis, replica {number}": server.pid for number, server in enumerate(replicas, 1)},
    }


MEASUREMENTS = {"memory": memory, "start_up": start_up, "idle": idle}
