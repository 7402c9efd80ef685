"""A leader that hands over beside a host that does not answer."""

from __future__ import annotations


def test_a_frozen_host_is_not_the_one_that_takes_over(stage):
    cluster = stage(5)
    leader = cluster.settle()
    cluster.run(500)
    # Nothing was written since: its log is as long as everybody's.
    frozen = max(cluster.followers(), key=lambda host: host.addr)
    frozen.pause()
    cluster.run(1000)
    assert leader.hand_over()
    cluster.run(300)
    assert not leader.core.accepts
    assert any(host.core.accepts for host in cluster.hosts.values())


def test_changes_that_wait_for_a_handover_do_not_keep_the_processor_busy(stage):
    cluster = stage()
    leader = cluster.settle()
    rest = cluster.followers()
    cluster.cut([leader], rest)
    assert leader.hand_over()
    cluster.put(leader, "k", 1)
    ticks = []
    tick = leader.core.tick
    leader.core.tick = lambda now: (ticks.append(now), tick(now))
    cluster.run(500)
    assert len(ticks) < 50
