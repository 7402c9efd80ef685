"""Changes for which the replicas have no room: they wait, and those that wait in vain did surely not happen."""

from __future__ import annotations

import pytest

from django_hacache.consensus.messages import AckLevel, Forward, ForwardReply, Refusal
from django_hacache.consensus.proposals.held import Lack
from tests.simulation.kv import Command, Overlay, lack_of
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
    host.evaluator.lacks = lambda command, _size: None if cluster.room else lack_of(command)


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
    since = host.page_since
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


class Limits:
    """Rooms that are full, by the first letter of a key; "": what all of them share."""

    def __init__(self, cluster, *full) -> None:
        self.full = set(full)
        for host in cluster.hosts.values():
            host.evaluator.lacks = self.lacks

    def lacks(self, command, _size):
        if "" in self.full:
            return Lack.SHARED
        return Lack.OWN if command.key[0] in self.full else None


@pytest.fixture
def limited(stage, monkeypatch):
    monkeypatch.setattr(Overlay, "line_of", lambda _self, command: command.key[0])

    def made(*full, **changes):
        cluster = stage(**changes)
        leader = cluster.settle()
        return cluster, leader, cluster.followers()[0], Limits(cluster, *full)

    return made


def test_a_cache_at_its_limit_holds_no_other_one_up(limited):
    cluster, leader, host, limits = limited("a")
    held = [cluster.put(one, "a1", 1, timeout=TIMEOUT) for one in (leader, host)]
    cluster.run(20)
    others = [cluster.put(one, "b1", 2, timeout=TIMEOUT) for one in (leader, host)]
    assert [ended(cluster, one, 50) for one in others] == [None, None]
    assert [one.ended for one in held] == [None, None]
    limits.full.clear()
    assert [ended(cluster, one, 200) for one in held] == [None, None]


def test_what_waits_for_the_same_cache_keeps_its_order_whatever_overtakes_it(limited):
    cluster, leader, _, limits = limited("a")
    for number in range(200):
        cluster.put(leader, "a1", number, timeout=TIMEOUT)
        cluster.put(leader, f"b{number}", number, timeout=TIMEOUT)
    limits.full.clear()
    last = cluster.put(leader, "a1", 200, timeout=TIMEOUT)
    assert ended(cluster, last, 200) is None
    assert cluster.value(leader, "a1") == 200


def test_where_all_caches_lack_room_who_comes_later_does_not_overtake_who_waits(limited):
    cluster, leader, _, limits = limited("", "a")
    held = [cluster.put(leader, f"{cache}1", 1, timeout=TIMEOUT) for cache in "abc"]
    limits.full = {"a"}
    seen = []
    for host in cluster.hosts.values():
        host.evaluator.lacks = lambda command, size: seen.append(command.key) or limits.lacks(command, size)
    cluster.put(leader, "d1", 1, timeout=TIMEOUT)
    assert ended(cluster, held[2], 200) is None
    assert seen.index("b1") < seen.index("c1") < seen.index("d1")
    assert held[0].ended is None


def test_when_all_have_room_again_each_cache_has_its_turn(limited):
    """One that a thousand changes wait for is not served before one that a single change waits for."""
    cluster, leader, _, limits = limited("")
    many = [cluster.put(leader, f"a{number}", 1, timeout=TIMEOUT) for number in range(1000)]
    single = cluster.put(leader, "b1", 1, timeout=TIMEOUT)
    limits.full.clear()
    assert [ended(cluster, one, 500) for one in (single, many[0], many[-1])] == [None] * 3
    assert single.ended.index == many[0].ended.index + 1


def test_what_gives_up_waiting_leaves_no_line_behind(limited):
    cluster, leader, _, limits = limited("", "a")
    for cache in "ab":
        operation = cluster.put(leader, f"{cache}1", 1, timeout=200)
        assert ended(cluster, operation, 300) is Refusal.BUSY
    limits.full = {"a"}
    assert ended(cluster, cluster.put(leader, "b2", 1, timeout=TIMEOUT), 50) is None
