"""Nodes that count different hosts: two lists have majorities without a host in common."""

from __future__ import annotations

from dataclasses import replace

from django_hacache.consensus.config import digest_of
from django_hacache.consensus.messages import Ping, Probe
from django_hacache.consensus.state import Role


def count(host, hosts):
    host.config = replace(host.config, peers=tuple(addr for addr in hosts if addr != host.addr))


def restart(cluster, host, hosts):
    host.crash()
    count(host, hosts)
    cluster.restart(host)


def test_while_the_hosts_are_changed_one_by_one_only_one_side_can_decide(stage):
    """Of three hosts each is restarted with a list of five: none of the sides that there are has its majority."""
    cluster = stage(5, running=False)
    n1, n2, n3, n4, n5 = cluster.hosts.values()
    old, new = ("n1", "n2", "n3"), tuple(cluster.hosts)
    cluster.quorum = 2
    for host in (n1, n2, n3):
        count(host, old)
        host.start()
    assert cluster.run_while(lambda: not all(h.may_read() for h in (n1, n2, n3)), at_most=10_000)
    cluster.write(n1, "k", 1)
    for host in (n1, n3):
        restart(cluster, host, new)
        cluster.run(3000)
    for host in (n4, n5):
        cluster.restart(host)
    cluster.run(15_000)
    assert not cluster.leaders
    assert not any(host.may_read() for host in cluster.hosts.values())
    # The fresh ones alone are no majority of five, and the third member brings what it had.
    assert n4.disk.hard.fresh
    restart(cluster, n2, new)
    cluster.settle()
    assert [cluster.value(host, "k") for host in cluster.hosts.values()] == [1] * 5


def test_a_new_list_forms_no_generation_beside_one_that_lives_by_another_list(stage):
    """Most hosts of the new list are fresh: without the one that counts others they would begin with empty caches."""
    cluster = stage(5, running=False)
    n1, n2, n3, n4, n5 = cluster.hosts.values()
    old, new = ("n1", "n2", "n3"), ("n3", "n4", "n5")
    cluster.quorum = 2
    for host in (n1, n2, n3):
        count(host, old)
        host.start()
    assert cluster.run_while(lambda: not all(h.may_read() for h in (n1, n2, n3)), at_most=10_000)
    for host in (n4, n5):
        count(host, new)
        cluster.restart(host)
    for _ in range(200):
        # The refused streams say so to those whom n3 does not know.
        for host in (n4, n5):
            host.core.hosts_differ(host.clock())
        cluster.run(50)
    assert all(host.core.role is Role.FOLLOWER and host.disk.hard.generation is None for host in (n4, n5))
    # Nor does a member give up what it has because of them.
    restart(cluster, n3, new)
    generation = n3.disk.hard.generation
    for _ in range(200):
        for host in (n3, n4, n5):
            host.core.hosts_differ(host.clock())
        cluster.run(50)
    assert (n3.disk.hard.generation, n3.disk.hard.fresh) == (generation, False)


def test_a_message_of_a_node_with_another_list_changes_nothing(stage):
    cluster = stage()
    leader = cluster.settle()
    follower, _ = cluster.followers()
    core, now = follower.core, follower.clock()
    stranger = leader.core.sender()._replace(hosts=digest_of(["n1", "n2", "n3", "n4"]))
    term = core.hard.term
    core.receive(stranger, Ping(term + 1, 1, 1, 1), now)
    core.receive(stranger, Probe(), now)
    ready = core.take_ready()
    assert not ready.messages
    assert not ready.has_durable_part
    assert core.hard.term == term


def test_the_order_of_the_list_makes_no_difference(stage):
    cluster = stage(running=False)
    for turn, host in enumerate(cluster.hosts.values()):
        peers = host.config.peers
        host.config = replace(host.config, peers=peers[turn % 2 :] + peers[: turn % 2])
        host.start()
    cluster.settle()
    assert len({host.core.sender().hosts for host in cluster.hosts.values()}) == 1


def test_a_node_of_a_version_that_tells_no_list_takes_part(stage):
    cluster = stage()
    leader = cluster.settle()
    core, now = cluster.followers()[0].core, leader.clock()
    earlier = leader.core.sender()._replace(hosts="")
    core.receive(earlier, Probe(), now)
    assert core.take_ready().messages
