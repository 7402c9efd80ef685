"""Nodes that are restarted, one after the other or the leader again and again."""

from __future__ import annotations

import signal
import statistics
import time
from dataclasses import replace

from tests.faults.cluster import Cluster
from tests.faults.consistency import miscounted, violations
from tests.faults.judge import assert_consistent, failed, lasting, lost_entries, writes
from tests.faults.measurements.rows import LEASE_S, SECOND, STEADY, Row, ms, none, times
from tests.faults.recording import COUNTING, READING, WRITING, Recorders
from tests.waiting import eventually

OLD = 100


def rolling(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
    rounds = times(5, scale)
    sent = snapshots_sent(cluster)
    with recorders.running() as history:
        for _ in range(rounds):
            for host in cluster.hosts:
                assert host.signal(signal.SIGTERM) == 0
                host.start()
                cluster.wait()
    sent = snapshots_sent(cluster) - sent
    gone = len(lost_entries(cluster, history))
    assert_consistent(cluster, history)
    wrong, longest = len(failed(history)), max(one.end - one.begin for one in history) / SECOND
    what = f"rolling restart of all nodes under load, {rounds} times"
    return [
        none(f"{what}: failed of {len(history):,} operations", wrong),
        none(f"{what}: acknowledged entries that were lost", gone),
        none(f"{what}: snapshots that were sent instead of differences", sent),
        Row(
            f"{what}: longest wait, on the host that restarts",
            "5,000 ms, WRITE_TIMEOUT",
            ms(longest),
            longest <= 5,
        ),
    ]


def snapshots_sent(cluster: Cluster) -> int:
    return sum(host.log.read_text().count(" a snapshot at index ") for host in cluster.hosts)


def handover(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
    waits, wrong, count = [], 0, times(10, scale)
    for _ in range(count):
        leader = cluster.leader()
        with recorders.running(STEADY, READING, hosts=cluster.others(leader)) as history:
            lasting(0.5)
            begin = time.monotonic_ns()
            assert leader.signal(signal.SIGTERM) == 0
            lasting(0.5)
        cluster.repair()
        assert_consistent(cluster, history)
        wrong += len(failed(history))
        waits.append(max(one.end - one.begin for one in writes(history) if one.end > begin) / SECOND)
    what = f"SIGTERM of the leader, {count} times"
    return [
        none(f"{what}: failed writes of the other hosts", wrong),
        Row(
            f"{what}: longest wait of a write (median {ms(statistics.median(waits))})",
            "300 ms",
            ms(max(waits)),
            max(waits) <= 0.3,
        ),
    ]


def incr(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
    kills = times(20, scale)
    one, two, three = cluster.hosts
    one.worker.set("counter", 0, None, ack="all")
    plans = {one: [COUNTING] * 3, two: [COUNTING] * 3, three: [COUNTING] * 2}
    with recorders.running_each(plans) as history:
        for _ in range(kills):
            leader = cluster.leader()
            leader.signal(signal.SIGKILL)
            new = cluster.leader(cluster.others(leader))
            new.worker.set("after", 1)
            leader.start()
            cluster.wait()
    end = eventually(lambda: one.worker.incr("counter", 0))
    wrong = miscounted(history, 0, end)
    acknowledged = sum(call.outcome == "ok" for call in history)
    unknown = sum(call.outcome == "unknown" for call in history)
    what = f"`incr` from 8 processes during {kills} kills of the leader"
    told = f"{acknowledged:,} acknowledged, {unknown} unknown, counted {end:,}"
    return [Row(what, "each acknowledged once, no other twice", told, not wrong)]


def majority(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
    """A majority loses its directories: a new generation in which every cache is empty."""
    rounds, waits, old = times(5, scale), [], 0
    for number in range(rounds):
        keys = [f"old{number}-{at}" for at in range(OLD)]
        for host in cluster.hosts:
            host.worker.set_many(dict.fromkeys(keys, "old"), None, ack="all")
        kept, *lost = cluster.hosts[number % 3 :] + cluster.hosts[: number % 3]
        for host in lost:
            host.signal(signal.SIGKILL)
            host.wipe()
        begin = time.monotonic_ns()
        with recorders.running(replace(READING, keys=keys, rate=400), READING, WRITING) as history:
            for host in lost:
                host.start()
            cluster.wait()
            waits.append((time.monotonic_ns() - begin) / SECOND)
            kept.worker.set("new", number, ack="all")
            lasting(1)
        # The host that is left serves what it has until its lease ends; nobody else can have another opinion by then.
        late = [one for one in history if one.key not in keys or one.begin > begin + LEASE_S * SECOND]
        # A hit of what only the old generation held is one of a value that nobody wrote.
        old += len(violations(late)) + sum(len(host.worker.get_many(keys)) for host in cluster.hosts)
    what = f"two of three hosts lose their directories, {rounds} times"
    longest = (
        f"longest time until all serve again, without anybody's help (median {ms(statistics.median(waits))})"
    )
    return [
        none(f"{what}: old values that are left, or were read later than a lease after", old),
        Row(f"{what}: {longest}", "30 s", ms(max(waits)), max(waits) <= 30),
    ]
