"""What is ordered and reaches no majority: it is bounded, and a leader that brings on nothing gives way."""

from __future__ import annotations

from itertools import pairwise

import pytest

from django_hacache.consensus.messages import AckLevel, Append, Refusal
from tests.simulation.kv import Command, line_of


def stop_entries(cluster, *sources, targets=None) -> None:
    """Heartbeats pass, entries of these hosts (of all, where none is named) do not."""
    names = {host.addr for host in sources or cluster.hosts.values()}
    to = {host.addr for host in targets or cluster.hosts.values()}
    cluster.filters.append(
        lambda source, target, m: (
            not (isinstance(m, Append) and m.entries and source in names and target in to)
        )
    )


def tail(host) -> tuple[int, int]:
    state = host.core.state
    return host.core.uncommitted, sum(
        e.size for e in state.log.between(state.commit + 1, state.log.last_index)
    )


@pytest.mark.parametrize("level", [AckLevel.LEADER, AckLevel.QUORUM])
@pytest.mark.parametrize("bounds", [{"log_bytes": 5000}, {"uncommitted_entries": 50}])
def test_what_is_ordered_and_not_committed_is_bounded_whatever_the_level(stage, level, bounds):
    cluster = stage(pending_requests=100, **bounds)
    leader = cluster.settle()
    stop_entries(cluster)
    operations = [cluster.put(leader, f"k{number}", number, level, timeout=2000) for number in range(500)]
    entries, size = tail(leader)
    assert 0 < entries <= bounds.get("uncommitted_entries", 500)
    assert size <= bounds.get("log_bytes", 1 << 20) + 200
    assert (leader.core.uncommitted, leader.core.uncommitted_bytes) == (entries, size)
    assert leader.core.pending == 100
    busy = [
        operation for operation in operations if operation.ended and operation.ended.refusal is Refusal.BUSY
    ]
    done = [operation for operation in operations if operation.ended and operation.ended.refusal is None]
    assert len(done) == (entries if level is AckLevel.LEADER else 0)
    assert len(busy) == 500 - 100 - len(done)
    assert len(leader.evaluator._ahead) == entries


def test_what_waits_for_room_for_the_same_cache_is_done_in_the_order_in_which_it_came(stage):
    cluster = stage(uncommitted_entries=3)
    leader = cluster.settle()
    host, _ = cluster.followers()
    stop_entries(cluster)
    operations = [cluster.put(leader, "k", number, AckLevel.LEADER) for number in range(20)]
    forwarded = [cluster.put(host, "f", number, AckLevel.LEADER) for number in range(20)]
    assert line_of(operations[0].command) != line_of(forwarded[0].command)
    cluster.run(50)
    assert leader.core.uncommitted == 3
    cluster.filters.clear()
    assert cluster.run_while(lambda: any(one.ended is None for one in operations + forwarded), at_most=2000)
    assert all(one.ended.refusal is None for one in operations + forwarded)
    for waited in (operations, forwarded):
        places = [one.ended.index for one in waited]
        assert places == sorted(places)
    cluster.write(leader, "other", 1)
    assert cluster.value(leader, "k") == 19


def test_what_found_no_room_by_its_deadline_did_not_happen(stage):
    cluster = stage(uncommitted_entries=1)
    leader = cluster.settle()
    stop_entries(cluster)
    cluster.put(leader, "k", 1, AckLevel.LEADER)
    own = cluster.put(leader, "k", 2, timeout=500)
    cluster.run(1000)
    assert own.ended.refusal is Refusal.NO_QUORUM


def test_what_waits_for_room_goes_to_the_next_leader(stage):
    cluster = stage(uncommitted_entries=1)
    leader = cluster.settle()
    stop_entries(cluster, leader)
    cluster.put(leader, "k", 1, AckLevel.LEADER)
    waits = cluster.put(leader, "n", 2, timeout=20_000)
    assert cluster.run_while(lambda: waits.ended is None, at_most=20_000)
    assert waits.ended.refusal is None
    assert cluster.leader() is not leader
    assert leader.core.uncommitted == leader.core.uncommitted_bytes == 0


def test_what_is_in_the_order_already_needs_no_room_and_is_not_forgotten_while_it_waits(stage):
    """It comes again from a host whose leader was another one, while nothing finds room."""
    cluster = stage(uncommitted_entries=2, request_table=4)
    leader = cluster.settle()
    host, _ = cluster.followers()
    incr = Command("incr", "n", 1)
    since = host.page_since
    cluster.submit(host.addr, incr, AckLevel.QUORUM, timeout=3000, req_id="same")
    cluster.run(50)
    stop_entries(cluster)
    for number in range(8):
        cluster.put(leader, f"k{number}", number, AckLevel.LEADER)
    again = cluster.submit(host.addr, incr, AckLevel.ONCE, timeout=5000, req_id="same", since=since)
    cluster.run(50)
    cluster.filters.clear()
    cluster.run(2000)
    assert (again.ended.refusal, again.ended.outcome) == (None, b"1")
    assert cluster.value(leader, "n") == 1


def test_an_entry_larger_than_the_bound_finds_room_where_nothing_else_waits(stage):
    cluster = stage(log_bytes=100, pending_bytes=1 << 30)
    leader = cluster.settle()
    big = Command("set", "k" * 3000, 1)
    for _ in range(3):
        operation = cluster.submit(leader.addr, big, AckLevel.QUORUM, timeout=2000)
        assert cluster.run_while(lambda: operation.ended is None, at_most=2000)  # noqa: B023 - used at once
        assert operation.ended.refusal is None


def test_changes_of_the_node_itself_are_bounded_by_twice_as_much(stage):
    """An eviction makes room: the writers must not keep it out."""
    cluster = stage(uncommitted_entries=5)
    leader = cluster.settle()
    stop_entries(cluster)
    for number in range(10):
        cluster.put(leader, "k", number)
    taken = [leader.core.propose(b"del k", leader.clock()) for _ in range(10)]
    assert taken == [True] * 5 + [False] * 5


def test_a_leader_that_is_heard_and_brings_no_entry_to_a_majority_gives_way_and_stays_away(stage):
    cluster = stage()
    leader = cluster.settle()
    stop_entries(cluster, leader)
    operation = cluster.put(leader, "k", 1, timeout=20_000)
    assert cluster.run_while(lambda: cluster.leader() is leader, at_most=5 * cluster.plan.election_timeout)
    assert cluster.run_while(lambda: operation.ended is None, at_most=2000)
    assert operation.ended.refusal is None
    term = cluster.leader().core.hard.term
    for number in range(600):
        cluster.put(leader, "k", number)
        cluster.run(100)
    assert cluster.leader().core.hard.term == term


@pytest.mark.parametrize(("nodes", "stuck"), [(3, 1), (5, 2)])
def test_a_leader_whose_entries_reach_a_majority_stays(stage, nodes, stuck):
    cluster = stage(nodes)
    leader = cluster.settle()
    stop_entries(cluster, leader, targets=cluster.followers()[:stuck])
    term = leader.core.hard.term
    for number in range(200):
        cluster.put(leader, "k", number)
        cluster.run(100)
    assert (cluster.leader(), leader.core.hard.term) == (leader, term)


def test_a_leader_whose_entries_move_slowly_stays(stage):
    """A large value on a slow link: nothing is acknowledged for a minute, and all the time some of it is taken."""
    cluster = stage()
    leader = cluster.settle()
    other, _ = cluster.followers()
    stop_entries(cluster, leader)
    operation = cluster.put(leader, "k", 1, timeout=100_000)
    term = leader.core.hard.term
    for _ in range(60):
        cluster.run(1000)
        leader.core.append_moves(other.addr, leader.clock())
    assert leader.core.hard.term == term
    cluster.filters.clear()
    assert cluster.run_while(lambda: operation.ended is None, at_most=2000)
    assert (cluster.leader(), operation.ended.refusal) == (leader, None)


def test_a_leader_that_has_nothing_to_bring_on_stays(stage):
    cluster = stage()
    leader = cluster.settle()
    stop_entries(cluster)
    term = leader.core.hard.term
    cluster.run(30_000)
    assert (cluster.leader(), leader.core.hard.term) == (leader, term)


def test_where_no_leader_can_bring_on_anything_the_leaders_change_ever_more_rarely(stage):
    cluster = stage()
    leader = cluster.settle()
    stop_entries(cluster)
    terms = []
    for _ in range(4):
        for _ in range(150):
            cluster.put(leader, "k", 1, timeout=500)
            cluster.run(1000)
        terms.append(max(host.core.hard.term for host in cluster.hosts.values()))
    changes = [after - before for before, after in pairwise(terms)]
    assert changes[-1] <= 3
    assert changes == sorted(changes, reverse=True)
    cluster.filters.clear()
    cluster.settle()
    cluster.write(leader, "k", 2)


def test_an_append_that_is_being_taken_is_not_sent_again(stage):
    cluster = stage()
    leader = cluster.settle()
    other, _ = cluster.followers()
    sent = []
    cluster.filters.append(
        lambda _s, target, m: not (isinstance(m, Append) and m.entries and (sent.append(target) or 1))
    )
    cluster.put(leader, "k", 1, timeout=60_000)
    for _ in range(50):
        cluster.run(100)
        leader.core.append_moves(other.addr, leader.clock())
    assert sent.count(other.addr) == 1
    cluster.run(2000)
    assert sent.count(other.addr) > 1


def test_an_append_that_was_lost_is_sent_again_while_parts_of_a_snapshot_move(stage):
    cluster = stage()
    leader = cluster.settle()
    other, _ = cluster.followers()
    sent = []
    cluster.filters.append(
        lambda _s, target, m: not (isinstance(m, Append) and m.entries and (sent.append(target) or 1))
    )
    cluster.put(leader, "k", 1, timeout=60_000)
    for _ in range(30):
        cluster.run(100)
        leader.core.part_answered(other.core.sender(), leader.clock())
    assert sent.count(other.addr) > 1
