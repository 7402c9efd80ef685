"""The lane and the stream between two nodes, each cut without the other: what is left carries everything."""

from __future__ import annotations

from tests.faults.cluster import LANE_PORT
from tests.faults.judge import LONG_ENOUGH_S, assert_kept_its_promises, failed, lasting, no_change_of_leader
from tests.waiting import eventually


def test_with_every_lane_cut_writes_take_the_stream(cluster, recorders):
    eventually(lambda: cluster.lanes() == [2, 2, 2])
    with recorders.running() as history, no_change_of_leader(cluster):
        lasting(0.5)
        cluster.network.cut_port(LANE_PORT)
        eventually(lambda: cluster.lanes() == [0, 0, 0])
        lasting(1)
        cluster.network.heal()
        eventually(lambda: cluster.lanes() == [2, 2, 2])
        lasting(0.5)
    assert failed(history) == []
    assert_kept_its_promises(cluster, history)


def test_with_grpc_cut_writes_take_the_lane(cluster, recorders):
    eventually(lambda: cluster.lanes() == [2, 2, 2])
    with recorders.running() as history, no_change_of_leader(cluster):
        lasting(0.5)
        for host in cluster.hosts:
            cluster.network.cut_port(int(host.addr.rpartition(":")[2]))
        lasting(LONG_ENOUGH_S)
    cluster.network.heal()
    assert failed(history) == []
    assert_kept_its_promises(cluster, history)
