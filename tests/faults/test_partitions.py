"""Hosts that cannot hear each other, in one direction or both, for a while or again and again."""

from __future__ import annotations

import pytest

from tests.clusters import Failed
from tests.faults.judge import (
    LONG_ENOUGH_S,
    assert_kept_its_promises,
    failed,
    lasting,
    no_change_of_leader,
    writes,
)
from tests.waiting import eventually

FLAPS = 2
FLAP_S = 1.0


@pytest.mark.parametrize("fault", ["deafen", "silence", "isolate"])
def test_a_follower_that_hears_nobody_or_is_not_heard_causes_no_election(cluster, recorders, fault):
    with recorders.running() as history, no_change_of_leader(cluster) as leader:
        cut, other = cluster.others(leader)
        getattr(cluster.network, fault)(cut.machine)
        eventually(lambda: cut.worker.get("probe") is None)
        other.worker.set("probe", fault, ack="all")
        lasting(LONG_ENOUGH_S)
        cluster.network.heal()
        eventually(lambda: cut.worker.get("probe") == fault)
    assert failed(writes(history, [leader, other])) == []
    assert_kept_its_promises(cluster, history)


def test_a_leader_that_sends_and_hears_nothing_is_replaced(cluster, recorders):
    leader = cluster.leader()
    with recorders.running() as history:
        cluster.network.deafen(leader.machine)
        new = cluster.leader(cluster.others(leader))
        new.worker.set("probe", "new", ack="all")
        assert leader.worker.get("probe") is None
        cluster.network.heal()
        eventually(lambda: leader.worker.get("probe") == "new")
    assert_kept_its_promises(cluster, history)


def test_a_leader_in_the_minority_acknowledges_nothing_and_its_host_reads_nothing(cluster, recorders):
    leader = cluster.leader()
    leader.worker.set("probe", "old", ack="all")
    with recorders.running() as history:
        cluster.network.isolate(leader.machine)
        with pytest.raises(Failed) as refused:
            leader.worker.set("probe", "lost", alias="hasty")
        assert "CacheUnavailable" in refused.value.kinds
        eventually(lambda: leader.worker.get("probe") is None)
        new = cluster.leader(cluster.others(leader))
        new.worker.set("probe", "new", ack="all")
        assert leader.worker.get("probe") is None
        cluster.network.heal()
        eventually(lambda: leader.worker.get("probe") == "new")
    assert_kept_its_promises(cluster, history)


def test_a_flapping_link_of_a_follower_causes_no_election(cluster, recorders):
    with recorders.running() as history, no_change_of_leader(cluster) as leader:
        cut, other = cluster.others(leader)
        for _ in range(FLAPS):
            cluster.network.isolate(cut.machine)
            lasting(FLAP_S)
            cluster.network.heal()
            lasting(FLAP_S)
        other.worker.set("probe", "flapped")
        eventually(lambda: cut.worker.get("probe") == "flapped")
    assert failed(writes(history, [leader, other])) == []
    assert_kept_its_promises(cluster, history)
