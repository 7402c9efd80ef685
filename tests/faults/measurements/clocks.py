"""Wall clocks that jump: elections and times to live must not notice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

from tests.faults import wall_clock
from tests.faults.cluster import Cluster, Host
from tests.faults.judge import assert_kept_its_promises, failed, lasting
from tests.faults.measurements.rows import SECOND, Row, ms, none
from tests.faults.recording import Recorders
from tests.faults.wall_clock import HOUR_S, jump

TTL_S = 4
JUMPS = (HOUR_S, -HOUR_S)


def clock(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
    if reason := wall_clock.why_impossible():
        raise RuntimeError(reason)
    rounds = max(1, round(3 * scale))
    changes = len(cluster.leaderships())
    off: list[float] = []
    leader = cluster.leader()
    with recorders.running() as history:
        for _ in range(rounds):
            for host in (leader, cluster.others(leader)[0]):
                for seconds in JUMPS:
                    off += jumped(cluster, host, seconds)
    changes = len(cluster.leaderships()) - changes
    assert_kept_its_promises(cluster, history)
    count = rounds * 2 * len(JUMPS)
    what = f"the wall clock of the leader, then of a follower, jumps by an hour to and fro, {count} times"
    worst = max(map(abs, off))
    return [
        none(f"{what}: leader changes", changes),
        Row(
            f"{what}: by how much a time to live of {TTL_S} s ended early or late on some host, {len(off)} times",
            "1,000 ms",
            ms(worst),
            worst <= 1,
        ),
        none(f"{what}: failed of {len(history):,} operations", len(failed(history))),
    ]


class Stored(NamedTuple):
    """An entry with a time to live: it ends as long after one of these times."""

    key: str
    begin_ns: int
    end_ns: int


def jumped(cluster: Cluster, host: Host, seconds: int) -> Iterator[float]:
    """By how much (s) the ends of entries are wrong that were stored before the jump, and after it."""
    stored = [store(each, f"before-{seconds}") for each in cluster.hosts]
    lasting(TTL_S / 4)
    jump(host, seconds)
    stored += [store(each, f"after-{seconds}") for each in cluster.hosts]
    lasting(TTL_S / 4)
    yield from ends(cluster, stored)
    jump(host, 0)


def store(host: Host, name: str) -> Stored:
    key = f"{name}-by-{host.addr}"
    begin = time.monotonic_ns()
    host.worker.set(key, 1, TTL_S)
    return Stored(key, begin, time.monotonic_ns())


def ends(cluster: Cluster, stored: list[Stored]) -> Iterator[float]:
    """Watches every host until none of the entries is left."""
    left = {(host, one) for host in cluster.hosts for one in stored}
    while left:
        for host in {host for host, _ in left}:
            asked = time.monotonic_ns()
            there = host.worker.get_many([one.key for _, one in left])
            for gone in [(at, one) for at, one in left if at is host and one.key not in there]:
                left.discard(gone)
                # Late by this much at most; or else early by what it lacked when we asked, negative.
                lived = time.monotonic_ns() - gone[1].begin_ns
                early = asked - gone[1].end_ns
                yield max(lived / SECOND - TTL_S, 0) or min(early / SECOND - TTL_S, 0)
