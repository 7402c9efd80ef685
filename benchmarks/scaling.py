"""What replication costs in messages and bytes, counted in a simulated cluster: `python -m benchmarks.scaling`.

The consensus core is the real one, the network virtual (1 ms a way, nothing is lost), and each message is encoded as it
would be sent. So the counts are exact, and the same on every machine. `--cpu` measures what CPU time a write takes in
clusters of several sizes, with real nodes on this machine.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from benchmarks import learners
from benchmarks.cluster import Cluster
from benchmarks.crew import Crew
from benchmarks.measurements.costs import write_cost
from benchmarks.places import HERE
from django_hacache.consensus.messages import AckLevel, Append, Forward, ForwardReply
from django_hacache.node.encoding import codec
from django_hacache.wire import cache_pb2 as pb
from tests.simulation.cluster import Cluster as SimulatedCluster
from tests.simulation.cluster import Operation
from tests.simulation.kv import Command
from tests.simulation.plan import Plan

KEY = ":1:a-key-of-usual-length"
VALUE_BYTES = 500
WARM_MS = 3000
# What an entry with such a value adds to an Append: see the table of a cluster with many clients.
ENTRY_BYTES = 640


class Counted(SimulatedCluster):
    """A cluster that writes entries of a realistic size, and counts what crosses the network."""

    def __init__(self, voters: int) -> None:
        super().__init__(Plan(nodes=voters), Random(1))
        self.messages: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.filters.append(self._tally)

    def _tally(self, source: str, _target: str, message: object) -> bool:
        name = type(message).__name__
        size = encoded_size(message, source)
        if isinstance(message, Append) and message.entries:
            # The simulated effect is a few bytes long; on the wire it would carry key and value.
            size += len(message.entries) * effect_bytes()
        self.messages[name] += 1
        self.bytes[name] += size
        return True

    def forget(self) -> None:
        self.messages.clear()
        self.bytes.clear()


def encoded_size(message: Any, source: str) -> int:
    """Bytes on the lane, with the frame's header and the sender's signature."""
    if isinstance(message, Forward | ForwardReply):
        message = replace(message, command=as_a_worker_sends_it())
    if isinstance(message, ForwardReply):
        message = replace(message, outcome=pb.Outcome(mod_res=[True]).SerializeToString())
    encoded = codec.to_ack(message, source) or codec.to_request(message, source)
    if encoded is None:
        return 0
    signature = pb.Sender(addr="10.0.0.11:7001", incarnation="0" * 16)
    encoded.sender.CopyFrom(signature)
    return encoded.ByteSize() + 4


def as_a_worker_sends_it() -> pb.CacheRequest:
    insert = pb.Insert(cache_name="default", entry=KEY, value=b"x" * VALUE_BYTES, req_id="0" * 16)
    return pb.CacheRequest(insert=insert)


def effect_bytes() -> int:
    stored = pb.SetEffect(cache_name="default", entry=KEY, value=b"x" * VALUE_BYTES)
    return pb.Effects(effects=[pb.Effect(set=stored)]).ByteSize()


def measure(voters: int, clients: int, duration_ms: int) -> dict[str, float]:
    """Closed-loop clients on all hosts, each with one write at quorum on its way."""
    cluster = Counted(voters)
    cluster.start_all()
    cluster.run(WARM_MS)
    cluster.forget()
    committed_before = max(host.disk.applied for host in cluster.hosts.values())
    running = [_write(cluster, number) for number in range(clients)]
    end = cluster.now + duration_ms
    while cluster.now < end:
        cluster.run(0.5)
        for number, operation in enumerate(running):
            if operation.ended is not None:
                running[number] = _write(cluster, number)
    entries = max(host.disk.applied for host in cluster.hosts.values()) - committed_before
    beats = cluster.messages["Ping"] + cluster.messages["Pong"]
    return {
        "voters": voters,
        "clients": clients,
        "entries": entries,
        "appends": cluster.messages["Append"] / entries,
        "messages": (cluster.messages.total() - beats) / entries,
        "bytes": (cluster.bytes.total() - cluster.bytes["Ping"] - cluster.bytes["Pong"]) / entries,
        "beat_bytes_s": (cluster.bytes["Ping"] + cluster.bytes["Pong"]) * 1000 / duration_ms,
    }


def _write(cluster: Counted, client: int) -> Operation:
    addr = cluster.addrs[client % len(cluster.addrs)]
    return cluster.submit(addr, Command("set", f"k{client}", client), AckLevel.QUORUM, timeout=4000)


def table(duration_ms: int) -> str:
    lines = [
        "| voters | clients | Appends an entry | messages an entry | bytes an entry | heartbeats, bytes a second |",
        "|---|---|---|---|---|---|",
    ]
    for voters in (3, 5, 7):
        for clients in (1, 16, 128):
            row = measure(voters, clients, duration_ms)
            lines.append(
                f"| {voters} | {clients} | {row['appends']:.2f} | {row['messages']:.2f} | {row['bytes']:,.0f} "
                f"| {row['beat_bytes_s']:,.0f} |"
            )
    return "\n".join(lines)


def cpu_table(seconds: float) -> str:
    """Real clusters, 16 processes that write on all hosts: CPU time of a write, by who takes it."""
    lines = ["| voters | writes a second | leader | each follower | worker |", "|---|---|---|---|---|"]
    for voters in (3, 5, 7):
        with (
            tempfile.TemporaryDirectory(prefix="scaling-", dir="/dev/shm") as directory,
            ExitStack() as running,
        ):
            cluster = Cluster(Path(directory) / "nodes", [HERE] * voters)
            running.callback(cluster.stop)
            crew = Crew([host.site for host in cluster.hosts], 16)
            running.callback(crew.stop)
            leader = cluster.leader()
            followers = [host.node.pid for host in cluster.hosts if host is not leader]
            cost = write_cost(leader.node.pid, followers, crew, seconds)
        shown = " | ".join(f"{cost[f'{who}_us']:,.0f} µs" for who in ("leader", "follower", "worker"))
        lines.append(f"| {voters} | {cost['rate']:,.0f} | {shown} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--duration", type=int, default=2000, help="simulated milliseconds of each row")
    parser.add_argument(
        "--cpu", type=float, metavar="SECONDS", help="measure real clusters for so long instead"
    )
    given = parser.parse_args()
    if given.cpu:
        print(cpu_table(given.cpu))
        return
    print(table(given.duration), learners.table(writes_s=1000, entry_bytes=ENTRY_BYTES), sep="\n\n")


if __name__ == "__main__":
    main()
