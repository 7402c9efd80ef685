"""A leader that can no longer store anything."""

from __future__ import annotations

from tests.waiting import eventually


def test_a_leader_that_lost_its_directory_does_not_linger(new_cluster):
    cluster = new_cluster()
    leader = cluster.leader()
    leader.wipe()
    eventually(lambda: "stops: it cannot store" in leader.log.read_text())
    # The others see that its process is gone, and need not wait for the election timeout.
    assert leader.node.wait(10) == 1
