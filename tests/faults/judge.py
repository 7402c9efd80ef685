"""Joins what a cluster tells with what its clients recorded, and asserts what was promised."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tests.faults.cluster import Cluster, Host, Leadership
from tests.faults.consistency import lost, violations
from tests.faults.history import History, Operation
from tests.faults.recorder import PADDING
from tests.waiting import eventually

# A leader is logged a moment after it has begun to accept.
LOGGED_WITHIN_NS = 100_000_000
CATCH_UP_S = 10
# Faults that cause no election are given the time in which a wrong one would have happened: no node waits longer than
# three seconds for a leader.
LONG_ENOUGH_S = 3.2


def lasting(seconds: float) -> None:
    """Let a fault last. Only for faults whose length is the point, never to wait for something."""
    time.sleep(seconds)


def at_leader(leaderships: Sequence[Leadership]) -> Callable[[Operation], bool]:
    """Whether an operation was one of the leader's own host, all the time that it took."""
    starts = [one.at_ns for one in leaderships]

    def of_leader(one: Operation) -> bool:
        at = bisect_right(starts, one.begin) - 1
        ends = starts[at + 1] - LOGGED_WITHIN_NS if at + 1 < len(starts) else one.end
        return at >= 0 and leaderships[at].addr == one.host and one.end <= ends

    return of_leader


def assert_consistent(cluster: Cluster, history: History) -> None:
    """No promise was broken while it was recorded."""
    assert any(one.hit for one in history)
    assert any(one.safe for one in history)
    found = violations(history, leader_reads=at_leader(cluster.leaderships()))
    assert not found, "\n".join(found[:20])


def lost_entries(cluster: Cluster, history: History) -> list[str]:
    """What hosts of the healed cluster still lack of what was acknowledged, when they have had time to catch up."""
    keys = sorted({one.key for one in history if one.kind != "incr"})

    def lacking() -> list[str]:
        return [text for host in cluster.hosts for text in lost(history, held(host, keys), host.addr)]

    deadline = time.monotonic() + CATCH_UP_S
    while lacking() and time.monotonic() < deadline:
        time.sleep(0.05)
    return lacking()


def held(host: Host, keys: Sequence[str]) -> dict[str, str]:
    return {key: value.rstrip(PADDING) for key, value in host.worker.get_many(keys).items()}


def assert_nothing_lost(cluster: Cluster, history: History) -> None:
    """Every host comes to hold the last of what was acknowledged, and the same as the others."""
    lacking = lost_entries(cluster, history)
    assert not lacking, "\n".join(lacking[:20])
    keys = sorted({one.key for one in history})
    eventually(
        lambda: len({str(sorted(held(host, keys).items())) for host in cluster.hosts}) == 1, CATCH_UP_S
    )


def assert_kept_its_promises(cluster: Cluster, history: History) -> None:
    cluster.repair()
    assert_consistent(cluster, history)
    assert_nothing_lost(cluster, history)


@contextmanager
def no_change_of_leader(cluster: Cluster) -> Iterator[Host]:
    """The leader, who must still be the same and in the same term after the block."""
    leader = cluster.leader()
    before = (cluster.leaderships(), leader.status().term)
    yield leader
    assert (cluster.leaderships(), leader.status().term) == before
    assert cluster.leader() is leader


def writes(history: History, hosts: Sequence[Host] | None = None) -> History:
    """The changes among the operations, of some hosts or all."""
    addrs = None if hosts is None else {host.addr for host in hosts}
    return [one for one in history if one.kind != "get" and (addrs is None or one.host in addrs)]


def failed(history: History) -> History:
    return [one for one in history if one.outcome in {"error", "unknown"}]


def acknowledged_within(history: History, seconds: float) -> float:
    """The share of the operations that were answered, with a yes or a no, in that time."""
    assert history
    soon = [one for one in history if one.end - one.begin <= seconds * 1e9]
    return (len(soon) - len(failed(soon))) / len(history)
