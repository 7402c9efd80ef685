"""Nodes that stand still for a while and go on as if nothing had happened."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import replace

from tests.faults.cluster import Cluster, Host
from tests.faults.consistency import violations
from tests.faults.judge import assert_kept_its_promises, assert_nothing_lost, at_leader, failed, lasting
from tests.faults.measurements.rows import LEASE_S, Row, ms, none, places, times, unchanged
from tests.faults.recording import READING, WRITING, Recorders

FAST = replace(READING, rate=1000)
BLOCK_S = 0.5


def pause(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
    count = times(20, scale)
    return [
        *frozen(cluster, recorders, count, "the leader", lambda leader: leader),
        *frozen(cluster, recorders, count, "a follower", lambda leader: cluster.others(leader)[0]),
    ]


def frozen(
    cluster: Cluster, recorders: Recorders, count: int, what: str, victim_of: Callable[[Host], Host]
) -> list[Row]:
    """SIGSTOP for longer than a lease, and fast readers on that host all the time."""
    wrong, reads, hits = 0, 0, 0
    for _ in range(count):
        victim = victim_of(cluster.leader())
        others = cluster.others(victim)
        plans = {victim: [FAST, FAST, WRITING]} | {other: [READING, WRITING] for other in others}
        with recorders.running_each(plans) as history:
            lasting(0.3)
            victim.signal(signal.SIGSTOP)
            new = cluster.leader(others)
            new.worker.set("probe", "new", ack="all")
            lasting(1.5 * LEASE_S)
            victim.signal(signal.SIGCONT)
            lasting(1)
        cluster.repair()
        assert_nothing_lost(cluster, history)
        wrong += len(violations(history, leader_reads=at_leader(cluster.leaderships())))
        there = [one for one in history if one.kind == "get" and one.host == victim.addr]
        reads, hits = reads + len(there), hits + sum(one.hit for one in there)
    told = (
        f"SIGSTOP of {what} for longer than its lease, then SIGCONT, {count} times: reads on its host that were stale"
        f" or went back, of {reads:,} with {hits:,} hits"
    )
    return [none(told, wrong)]


def frozen_all(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
    waits = []
    for number in range(times(10, scale)):
        leader = cluster.leader()
        victim, other = cluster.others(leader)
        victim.signal(signal.SIGSTOP)
        begin = time.monotonic()
        other.worker.set("probe", number, ack="all")
        waits.append(time.monotonic() - begin)
        victim.signal(signal.SIGCONT)
        cluster.repair()
    what = f'a write with `ack="all"` while a follower is frozen, {len(waits)} times: longest wait'
    return [Row(what, "succeeds once its lease of 1 s has run out", ms(max(waits)), True)]


def quiet(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
    """Nothing happens for a while; then the leader's event loop stands still again and again, as under a long step."""
    seconds, blocks = 300 * scale, times(20, scale)
    before = places(cluster)
    lasting(seconds)
    idle = places(cluster)
    leader = cluster.leader()
    with recorders.running() as history:
        for _ in range(blocks):
            leader.signal(signal.SIGSTOP)
            lasting(BLOCK_S)
            leader.signal(signal.SIGCONT)
            lasting(BLOCK_S)
    blocked = places(cluster)
    assert_kept_its_promises(cluster, history)
    what = f"the leader's event loop blocked for {ms(BLOCK_S)}, {blocks} times"
    return [
        unchanged(f"nobody does anything for {seconds:.0f} s", before, idle),
        unchanged(what, idle, blocked),
        none(f"{what}: failed of {len(history):,} operations", len(failed(history))),
    ]
