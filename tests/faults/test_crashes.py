"""Nodes that are killed."""

from __future__ import annotations

import signal


def test_kill_9_of_the_leader_loses_nothing_that_was_acknowledged(cluster, recorders):
    leader = cluster.leader()
    with recorders.running() as history:
        leader.signal(signal.SIGKILL)
        new = cluster.leader(cluster.others(leader))
        new.worker.set("after", 1)
        leader.start()
        cluster.wait()
    assert history
    print(len(history))
