"""Nodes that are killed, restarted, or come back with nothing."""

from __future__ import annotations

import signal
import time
from dataclasses import replace

from django_hacache.node.process.runtime import BACK_WITHIN_NS
from tests.faults.consistency import miscounted
from tests.faults.judge import assert_consistent, assert_kept_its_promises, failed, lasting, writes
from tests.faults.recording import COUNTING, READING, WRITING
from tests.waiting import eventually


def test_kill_9_of_the_leader_loses_nothing_that_was_acknowledged(cluster, recorders):
    leader = cluster.leader()
    with recorders.running() as history:
        leader.signal(signal.SIGKILL)
        new = cluster.leader(cluster.others(leader))
        new.worker.set("after", 1)
        leader.start()
        cluster.wait()
    assert_kept_its_promises(cluster, history)


def test_a_rolling_restart_under_load_fails_no_operation(cluster, recorders):
    down = {}
    with recorders.running() as history:
        for host in cluster.hosts:
            begin = time.monotonic_ns()
            assert host.signal(signal.SIGTERM) == 0
            host.start()
            cluster.wait()
            down[host.addr] = time.monotonic_ns() - begin
    # The workers of a host whose node takes longer to come back than they wait for one have to fail.
    assert [one for one in failed(history) if down[one.host] < BACK_WITHIN_NS] == []
    assert_kept_its_promises(cluster, history)


def test_increments_are_counted_once_while_leaders_are_killed(cluster, recorders):
    cluster.hosts[0].worker.set("counter", 0, None)
    with recorders.running(COUNTING, COUNTING) as history:
        for _ in range(2):
            leader = cluster.leader()
            leader.signal(signal.SIGKILL)
            new = cluster.leader(cluster.others(leader))
            new.worker.set("after", 1)
            leader.start()
            cluster.wait()
    end = eventually(lambda: cluster.hosts[0].worker.incr("counter", 0))
    assert miscounted(history, 0, end) == []
    assert sum(one.outcome == "ok" for one in history) > 100


def test_a_majority_that_lost_its_directories_starts_empty_and_serves_nothing_old(cluster, recorders):
    old = {f"before{number}": "old" for number in range(100)}
    for host in cluster.hosts:
        host.worker.set_many(old, None)
    kept, *others = cluster.hosts
    for host in others:
        host.signal(signal.SIGKILL)
        host.wipe()
    for host in others:
        host.start()
    cluster.wait()
    assert [host.worker.get_many(list(old)) for host in cluster.hosts] == [{}] * 3
    with recorders.running(READING, replace(READING, keys=list(old)), WRITING) as history:
        kept.worker.set("new", 1, ack="all")
        assert [host.worker.get("new") for host in cluster.hosts] == [1] * 3
        lasting(1)
    # A hit of what only the old generation held would be of a value that nobody wrote.
    assert writes(history)
    assert failed(history) == []
    assert_consistent(cluster, history)
