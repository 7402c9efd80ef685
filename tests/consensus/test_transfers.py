"""The transfer of a replica: what it needs of the log, who counts meanwhile, what it survives, and what is late."""

from __future__ import annotations

from itertools import pairwise

import pytest

from django_hacache.consensus.messages import (
    AckLevel,
    AppendAck,
    LeaderReq,
    LeaderReqAck,
    LeaderSwitch,
    Ping,
    Since,
)
from django_hacache.consensus.state import Role
from tests.consensus.transfers import (
    INCR,
    KEYS,
    assert_equal,
    beginning_held,
    crash_the_joiner,
    in_the_middle,
    keep_entries_from,
    left_behind,
    sends_parts,
    silence,
    the_leader_dies_while_the_joiner_has_more_of_its_log_than_the_other,
    write_all,
)
from tests.consensus.verbs import progress_of


@pytest.mark.parametrize("wipe", [False, True])
def test_a_transfer_ends_although_the_log_is_dropped_many_times(stage, wipe):
    the_log_is_dropped_many_times_meanwhile(stage, wipe=wipe)


def the_log_is_dropped_many_times_meanwhile(stage, *, wipe=False):
    cluster, leader, late, _ = left_behind(stage, part_time=100.0)
    if wipe:
        late.lose_directory()
    cluster.restart(late)
    in_the_middle(cluster, late)
    base = late.disk.base[0]
    began, number = cluster.now, 0
    while not late.may_read():
        number += 1
        cluster.put(leader, f"k{number % KEYS:02}", number)
        cluster.run(10)
        assert cluster.now - began < 10_000
    assert leader.disk.base[0] > base + 2 * len(leader.disk.entries)
    assert cluster.transfers == 1
    assert_equal(cluster)


def cut_the_link(cluster, leader, late):
    cluster.cut([leader], [late])
    cluster.run(700)
    cluster.network.heal()


def crash_the_leader(cluster, leader, late):
    leader.crash()
    for host in cluster.followers_of(leader):
        cluster.connection_refused(host.addr, leader.addr)


@pytest.mark.parametrize("strike", [crash_the_joiner, cut_the_link, crash_the_leader])
def test_a_transfer_goes_on_where_it_was(stage, strike):
    cluster, leader, late, _ = left_behind(stage)
    cluster.restart(late)
    in_the_middle(cluster, late)
    cluster.run(100)
    position = late.disk.hard.installing.position
    places = sends_parts(cluster, late)
    strike(cluster, leader, late)
    assert cluster.run_while(lambda: not late.may_read(), at_most=15_000)
    assert min(places) >= position
    cluster.restart(leader)
    assert_equal(cluster)


def heartbeats_to(cluster, host):
    """When heartbeats leave for a host from now on, as a list that grows."""
    times = []

    def noting(_source, target, message):
        if isinstance(message, Ping) and target == host.addr:
            times.append(cluster.now)
        return True

    cluster.filters.append(noting)
    return times


def test_a_host_that_has_nothing_is_told_seldom_that_the_leader_lives(stage):
    cluster, _, late, other = left_behind(stage, part_time=10_000.0)
    late.lose_directory()
    cluster.restart(late)
    cluster.run(1000)
    to_late, to_other = heartbeats_to(cluster, late), heartbeats_to(cluster, other)
    cluster.run(4000)
    assert late.disk.hard.installing, "the transfer goes on"
    assert len(to_late) == 4000 // (cluster.plan.election_timeout // 4)
    assert len(to_other) == 4000 // cluster.plan.heartbeat


@pytest.mark.parametrize("takes", ["parts", "entries"])
def test_a_host_that_has_nothing_is_not_told_that_the_leader_lives_while_it_takes_what_is_sent(stage, takes):
    """It hears that from what it takes."""
    cluster, leader, late, _ = left_behind(stage, part_time=50.0 if takes == "parts" else 10_000.0)
    late.lose_directory()
    cluster.restart(late)
    cluster.run(500)
    times = heartbeats_to(cluster, late)
    for number in range(6):
        if takes == "entries":
            cluster.put(leader, "k", number)
        cluster.run(100)
    assert late.disk.hard.installing, "the transfer goes on"
    assert late.core.has_quorum(late.clock())
    assert not times


def test_a_host_hears_that_the_leader_lives_while_a_large_entry_is_on_its_way(stage):
    """Of that it has nothing yet."""
    cluster, leader, late, _ = left_behind(stage, part_time=10_000.0)
    late.lose_directory()
    cluster.restart(late)
    cluster.run(1000)
    times = heartbeats_to(cluster, late)
    for _ in range(20):
        leader.core.append_moves(late.addr, leader.clock())
        cluster.run(100)
    assert len(times) == 2000 // (cluster.plan.election_timeout // 4)


def test_a_host_gets_every_heartbeat_as_soon_as_its_replica_is_whole(stage):
    cluster, leader, late, _ = left_behind(stage)
    late.lose_directory()
    cluster.restart(late)
    in_the_middle(cluster, late)
    received = lambda: progress_of(leader, late).installing
    assert cluster.run_while(received, at_most=15_000)
    times = heartbeats_to(cluster, late)
    assert cluster.run_while(lambda: not late.may_read(), at_most=5 * cluster.plan.heartbeat)
    assert max(b - a for a, b in pairwise(times)) <= cluster.plan.heartbeat


def test_a_member_whose_replica_is_incomplete_gets_every_heartbeat_and_keeps_a_leader_that_has_no_other(
    stage,
):
    cluster, leader, late, other = left_behind(stage, part_time=500.0)
    cluster.restart(late)
    in_the_middle(cluster, late)
    other.crash()
    times = heartbeats_to(cluster, late)
    cluster.run(4000)
    assert late.disk.hard.installing, "the transfer goes on"
    assert len(times) == 4000 // cluster.plan.heartbeat
    assert leader.core.heartbeats.lease_left_ms(leader.clock()) > 0


def test_a_host_that_loses_its_replica_again_is_found_alive_with_the_next_heartbeat(stage):
    cluster, leader, late, _ = left_behind(stage, part_time=10_000.0)
    late.lose_directory()
    cluster.restart(late)
    cluster.run(1000)
    times = heartbeats_to(cluster, late)
    assert cluster.run_while(lambda: not times, at_most=1000)
    late.crash()
    late.lose_directory()
    cluster.restart(late)
    known = lambda: progress_of(leader, late).incarnation == late.core.hard.incarnation
    assert cluster.run_while(lambda: not known(), at_most=2 * cluster.plan.heartbeat)


def test_where_the_log_no_longer_reaches_the_joiner_the_transfer_begins_anew(stage):
    cluster, leader, late, _ = left_behind(stage)
    cluster.restart(late)
    in_the_middle(cluster, late)
    late.crash()
    write_all(cluster, leader)
    places = sends_parts(cluster, late)
    cluster.restart(late)
    assert cluster.run_while(lambda: not late.may_read(), at_most=15_000)
    assert b"" in places
    assert_equal(cluster)


def test_a_late_message_to_begin_anew_takes_nothing_from_a_member(stage):
    cluster, leader, late, other = left_behind(stage)
    held = beginning_held(cluster, leader)
    cluster.restart(late)
    assert cluster.run_while(lambda: not late.may_read() or late.disk.hard.installing, at_most=10_000)
    # What is acknowledged now is with the leader and this host.
    keep_entries_from(cluster, other)
    cluster.write(leader, "k", 1)
    applied = late.disk.applied
    late.receive(*held[0])
    assert late.disk.hard.installing is None
    assert late.disk.applied >= applied
    leader.crash()
    cluster.filters.clear()
    for host in (late, other):
        cluster.connection_refused(host.addr, leader.addr)
    assert cluster.run_while(lambda: not late.core.accepts, at_most=10_000)
    assert cluster.value(late, "k") == 1


def test_an_incomplete_replica_does_not_keep_a_cluster_without_a_leader(stage):
    """It cannot lead. What only it and the dead leader have was not committed: it votes for who lacks that."""
    cluster, _, late, other = the_leader_dies_while_the_joiner_has_more_of_its_log_than_the_other(stage)
    assert cluster.run_while(lambda: not other.core.accepts, at_most=5000)
    assert cluster.run_while(lambda: not late.may_read(), at_most=15_000)


def test_an_incomplete_replica_never_asks_for_votes(stage):
    cluster, leader, late, other = left_behind(stage)
    cluster.restart(late)
    in_the_middle(cluster, late)
    asked = []
    cluster.filters.append(
        lambda source, _target, message: (
            asked.append(source) or True if isinstance(message, LeaderReq) else True
        )
    )
    other.crash()
    leader.crash()
    cluster.run(10_000)
    assert late.addr not in asked
    cluster.restart(leader)
    cluster.restart(other)
    assert_equal(cluster)


def test_an_incomplete_replica_takes_neither_a_lease_nor_the_leadership(stage):
    """A leader that has just been elected does not know yet who is incomplete."""
    cluster, leader, late, _ = left_behind(stage, part_time=500.0)
    cluster.restart(late)
    in_the_middle(cluster, late)
    term, now = leader.core.hard.term, late.clock()
    late.receive(
        leader.core.sender(), Ping(term, 1, now, late.disk.applied, echo_ms=now, lease_ms=cluster.plan.lease)
    )
    assert not late.may_read()
    late.receive(leader.core.sender(), LeaderSwitch(late.addr, 1, term))
    assert (late.core.role, late.core.hard.term) == (Role.FOLLOWER, term)


def test_a_vote_of_an_incomplete_replica_is_for_who_has_all_it_applied(stage):
    cluster, leader, late, other = left_behind(stage)
    cluster.restart(late)
    in_the_middle(cluster, late)
    cluster.filters.append(lambda _source, _target, message: not isinstance(message, LeaderReq))
    leader.crash()
    cluster.run(4 * cluster.plan.election_timeout)
    state = late.core.state
    answers = []
    cluster.filters.append(
        lambda source, _target, message: (
            answers.append(message.granted) or False
            if isinstance(message, LeaderReqAck) and source == late.addr
            else True
        )
    )
    applied = state.applied
    for last_index in (applied - 1, applied):
        late.receive(
            other.core.sender(),
            LeaderReq(1, state.term + 1, last_index, state.log.term_at(applied), pre_vote=False),
        )
    assert answers == [False, True]


def test_a_change_at_level_all_does_not_wait_for_a_transfer(stage):
    cluster, leader, late, _ = left_behind(stage, part_time=500.0)
    cluster.restart(late)
    in_the_middle(cluster, late)
    cluster.run(2 * cluster.plan.lease)
    operation = cluster.put(leader, "k", 1, AckLevel.ALL)
    cluster.run(100)
    assert operation.ended is not None
    assert operation.ended.refusal is None
    assert late.disk.hard.installing


def test_an_acknowledgement_from_before_a_host_began_anew_says_nothing_of_now(stage):
    """It says that the replica is complete, and was true: at that time."""
    cluster = stage(log_bytes=2000, part_time=500.0)
    leader = cluster.settle()
    late, _ = cluster.followers()
    acks = []
    cluster.filters.append(
        lambda source, _target, message: (
            acks.append((late.core.sender(), message)) or True
            if isinstance(message, AppendAck) and source == late.addr and message.success
            else True
        )
    )
    cluster.write(leader, "k", 0)
    cluster.run(100)
    before = acks[-1]
    late.crash()
    write_all(cluster, leader)
    cluster.restart(late)
    in_the_middle(cluster, late)
    leader.receive(*before)
    progress = progress_of(leader, late)
    assert progress.installing
    assert not progress.holds()


def test_a_retry_is_known_to_a_leader_whose_replica_came_in_parts(stage):
    cluster, leader, late, other = left_behind(stage, part_time=50.0)
    cluster.submit(leader.addr, INCR, AckLevel.QUORUM, timeout=3000, req_id="before")
    cluster.run(100)
    cluster.restart(late)
    in_the_middle(cluster, late)
    cluster.submit(leader.addr, INCR, AckLevel.QUORUM, timeout=3000, req_id="meanwhile")
    write_all(cluster, leader)
    assert cluster.run_while(lambda: not late.may_read(), at_most=15_000)
    silence(cluster, other)
    leader.crash()
    cluster.connection_refused(late.addr, leader.addr)
    cluster.connection_refused(other.addr, leader.addr)
    assert cluster.run_while(lambda: not late.core.accepts, at_most=15_000)
    for req_id in ("before", "meanwhile"):
        again = cluster.submit(
            late.addr, INCR, AckLevel.QUORUM, timeout=3000, req_id=req_id, since=Since(1, 0)
        )
        cluster.run(200)
        assert again.ended.outcome == {"before": b"1", "meanwhile": b"2"}[req_id]
    assert cluster.value(late, "n") == 2


def test_the_log_that_a_host_keeps_for_a_part_that_does_not_come_is_bounded(stage):
    cluster, leader, late, _ = left_behind(stage)
    cluster.restart(late)
    in_the_middle(cluster, late)
    take, late.take_part = late.take_part, lambda *_: None
    most = 0
    for _ in range(10):
        write_all(cluster, leader)
        most = max(most, late.core.state.log.bytes)
    assert most < 6 * cluster.plan.log_bytes
    late.take_part = take
    assert cluster.run_while(lambda: not late.may_read(), at_most=15_000)
    assert_equal(cluster)
