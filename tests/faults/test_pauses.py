"""Nodes that stop for longer than their lease and go on as if nothing had happened."""

from __future__ import annotations

import signal
from dataclasses import replace

from tests.faults.judge import (
    LONG_ENOUGH_S,
    assert_kept_its_promises,
    failed,
    lasting,
    no_change_of_leader,
    writes,
)
from tests.faults.recording import READING, WRITING
from tests.waiting import eventually


def test_a_frozen_leader_is_replaced_and_its_host_reads_nothing_overwritten(cluster, recorders):
    leader = cluster.leader()
    with recorders.running(replace(READING, rate=600), WRITING) as history:
        leader.worker.set("probe", "old", ack="all")
        leader.signal(signal.SIGSTOP)
        others = cluster.others(leader)
        new = cluster.leader(others)
        new.worker.set("probe", "new", ack="all")
        assert leader.worker.get("probe") is None
        leader.signal(signal.SIGCONT)
        eventually(lambda: leader.worker.get("probe") == "new")
    assert_kept_its_promises(cluster, history)


def test_a_frozen_follower_changes_nothing_for_the_others(cluster, recorders):
    with recorders.running() as history, no_change_of_leader(cluster) as leader:
        frozen, other = cluster.others(leader)
        frozen.signal(signal.SIGSTOP)
        eventually(lambda: frozen.worker.get("probe") is None)
        # It waits out the lease of the frozen one.
        other.worker.set("probe", "after", ack="all")
        lasting(LONG_ENOUGH_S / 2)
        frozen.signal(signal.SIGCONT)
        eventually(lambda: frozen.worker.get("probe") == "after")
    assert failed(writes(history, [leader, other])) == []
    assert_kept_its_promises(cluster, history)
