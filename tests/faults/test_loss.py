"""Links that lose packets, and one that is slow."""

from __future__ import annotations

from tests.faults.judge import (
    acknowledged_within,
    assert_kept_its_promises,
    failed,
    lasting,
    no_change_of_leader,
    writes,
)
from tests.faults.recording import Plan
from tests.waiting import eventually

MIB = 1 << 20
LARGE = 1 * MIB
# What a node may hold for a peer and as the tail of its log, and as much again for what is on its way.
LEADER_GROWTH_BYTES = 256 * MIB
# Some entries of the log are no writes.
ENOUGH_WRITES = LEADER_GROWTH_BYTES // LARGE * 5 // 4


def test_a_tenth_of_all_packets_lost_changes_no_leader_and_writes_go_on(cluster, recorders):
    with recorders.running() as history:
        with no_change_of_leader(cluster):
            cluster.network.lose(0.1)
            lasting(4)
        cluster.network.heal()
    assert acknowledged_within(writes(history), 5.0) >= 0.99
    assert_kept_its_promises(cluster, history)


def test_a_slow_follower_neither_slows_the_others_nor_fills_the_leader(cluster, recorders):
    large = Plan({"set": 9, "get": 1}, rate=40, value_bytes=LARGE, levels=["quorum"])
    with no_change_of_leader(cluster) as leader:
        slow, other = cluster.others(leader)
        before = leader.memory_bytes()
        cluster.network.slow_down(slow.machine)
        first = leader.applied_index()
        with recorders.running(large, hosts=[leader, other]) as history:
            # However fast this machine is, more is written than the leader may hold.
            eventually(lambda: leader.applied_index() - first > ENOUGH_WRITES, 40)
        grown = leader.memory_bytes() - before
        assert failed(history) == []
        written = sum(one.safe for one in history) * LARGE
        assert written > LEADER_GROWTH_BYTES
        assert grown < LEADER_GROWTH_BYTES
        cluster.network.heal()
        other.worker.set("probe", "after", ack="all")
        eventually(lambda: slow.worker.get("probe") == "after", 40)
    assert_kept_its_promises(cluster, history)
