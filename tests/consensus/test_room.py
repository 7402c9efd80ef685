"""Changes for which the replicas have no room: they wait, and those that wait in vain did surely not happen."""

from __future__ import annotations

import pytest

from django_hacache.consensus.messages import AckLevel, Forward, ForwardReply, Refusal
from tests.simulation.kv import Command
from tests.simulation.plan import RESEND

TIMEOUT = 5000


@pytest.fixture
def full(stage):
    """A cluster whose replicas are full until `room` is True."""

    def made(**changes):
        cluster = stage(**changes)
        leader = cluster.settle()
        cluster.room = False
        for host in cluster.hosts.values():
            refuse_room(cluster, host)
        return cluster, leader, cluster.followers()[0]

    return made


def refuse_room(cluster, host) -> None:
    host.evaluator.has_room = lambda _command, _size: cluster.room


def increments(cluster, host, **more):
    return cluster.submit(host.addr, Command("incr", "n", 1), AckLevel.QUORUM, timeout=TIMEOUT, **more)


def ended(cluster, operation, at_most):
    assert cluster.run_while(lambda: operation.ended is None, at_most=at_most)
    return operation.ended.refusal


def test_who_forwarded_a_change_learns_soon_that_there_is_no_room_and_it_never_happens(full):
    cluster, leader, host = full()
    operation = increments(cluster, host)
    assert ended(cluster, operation, RESEND) is Refusal.BUSY
    cluster.room = True
    cluster.run(2 * TIMEOUT)
    assert cluster.value(leader, "n") is None


def test_who_has_less_time_learns_it_in_time_as_well(full):
    cluster, leader, host = full()
    for one in (leader, host):
        operation = cluster.put(one, "k", 1, timeout=200)
        assert ended(cluster, operation, 150) is Refusal.BUSY


def test_a_change_of_the_leaders_host_waits_longer_and_not_to_the_end(full):
    cluster, leader, _ = full()
    operation = increments(cluster, leader)
    cluster.run(TIMEOUT // 3)
    assert operation.ended is None
    assert ended(cluster, operation, TIMEOUT // 3) is Refusal.BUSY


def test_what_finds_room_while_it_waits_is_done(full):
    cluster, leader, host = full()
    operations = [increments(cluster, one) for one in (host, leader)]
    cluster.run(50)
    cluster.room = True
    assert [ended(cluster, one, 200) for one in operations] == [None, None]
    assert cluster.value(leader, "n") == 2


def test_a_change_of_which_another_copy_may_be_on_its_way_is_not_refused_as_not_done(full):
    cluster, leader, host = full()
    copies = []

    def hold(source, target, message):
        if isinstance(message, Forward) and not copies:
            copies.append((host.core.sender(), message))
            return False
        return True

    cluster.filters.append(hold)
    operation = increments(cluster, host)
    assert ended(cluster, operation, 2000 + 2 * RESEND) is Refusal.OUTCOME_UNKNOWN
    cluster.room = True
    leader.receive(*copies[0])
    cluster.run(200)
    assert cluster.value(leader, "n") == 1


def test_a_change_that_waits_for_room_while_the_leader_changes_happens_once_or_not_at_all(full):
    cluster, leader, host = full()
    operation = increments(cluster, host)
    cluster.run(50)
    leader.crash()
    successor = cluster.leader()
    cluster.room = True
    leader.start()
    assert ended(cluster, operation, 2 * TIMEOUT) is None
    cluster.run(TIMEOUT)
    assert cluster.value(successor, "n") == 1


def test_a_change_that_waits_when_its_host_dies_happens_once_however_often_it_is_asked_for(full):
    cluster, leader, host = full()
    since = host.core.state.applied
    increments(cluster, host, req_id="same", since=since)
    cluster.run(50)
    host.crash()
    host.start()
    cluster.run(50)
    again = increments(cluster, host, req_id="same", since=since)
    cluster.run(50)
    cluster.room = True
    assert ended(cluster, again, TIMEOUT) is None
    cluster.run(TIMEOUT)
    assert cluster.value(leader, "n") == 1


def test_a_refusal_that_is_lost_leaves_nothing_behind(full):
    cluster, leader, host = full()
    cluster.filters.append(lambda _s, _t, message: not isinstance(message, ForwardReply))
    operation = increments(cluster, host)
    cluster.run(2 * RESEND)
    cluster.filters.clear()
    assert ended(cluster, operation, TIMEOUT) is Refusal.OUTCOME_UNKNOWN
    assert leader.core.pending == 0
    cluster.room = True
    cluster.write(host, "k", 1)


def test_where_the_order_has_no_room_a_change_waits_on(full):
    """That passes, be it with the next leader."""
    cluster, leader, _ = full(uncommitted_entries=1)
    cluster.room = True
    cluster.cut([leader], cluster.followers(), both=False)
    cluster.put(leader, "k", 1, AckLevel.LEADER)
    operation = increments(cluster, leader)
    cluster.run(RESEND)
    assert operation.ended is None
    cluster.network.heal()
    assert ended(cluster, operation, TIMEOUT) is None
