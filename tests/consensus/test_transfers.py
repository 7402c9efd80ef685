"""The transfer of a replica: what it needs of the log, who counts meanwhile, what it survives, and what is late."""

from __future__ import annotations

from itertools import pairwise

import pytest

from django_hacache.consensus.core import Core
from django_hacache.consensus.dedup import RequestTable
from django_hacache.consensus.election import Election
from django_hacache.consensus.follower.installation import Installation
from django_hacache.consensus.follower.lease import HostLease
from django_hacache.consensus.hard_state import Installing
from django_hacache.consensus.leader.progress import Progress
from django_hacache.consensus.leader.replication import LeaderReplication
from django_hacache.consensus.messages import (
    AckLevel,
    Append,
    AppendAck,
    LeaderReq,
    LeaderReqAck,
    LeaderSwitch,
    Ping,
    Refusal,
)
from django_hacache.consensus.state import NodeState, Role
from django_hacache.consensus.transfer import Next, Outgoing, Part
from django_hacache.consensus.window import QUEUEING_MS, Window
from tests.consensus.verbs import progress_of
from tests.simulation.kv import Command

KEYS = 40
INCR = Command("incr", "n", 1)


def write_all(cluster, host, keys=KEYS):
    for number in range(keys):
        cluster.write(host, f"k{number:02}", number)


def left_behind(stage, **changes):
    """A cluster of which one host was down while the log went on; returns it, its leader, that host and the other."""
    cluster = stage(**{"log_bytes": 2000, "part_time": 20.0, **changes})
    leader = cluster.settle()
    late, other = cluster.followers()[:2]
    late.crash()
    write_all(cluster, leader)
    return cluster, leader, late, other


def in_the_middle(cluster, late, *, at_most=5000):
    """Let time pass until some of the replica is there."""
    middle = lambda: (
        late.core is not None and late.disk.hard.installing and late.disk.hard.installing.position
    )
    assert cluster.run_while(lambda: not middle(), at_most=at_most)


def silence(cluster, candidate):
    """It asks nobody for votes."""
    cluster.filters.append(
        lambda source, _target, message: not (isinstance(message, LeaderReq) and source == candidate.addr)
    )


def assert_equal(cluster):
    assert cluster.run_while(
        lambda: not cluster.invariants.equal(list(cluster.hosts.values())), at_most=15_000
    )


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


def sends_parts(cluster, late):
    """The places after which parts arrive at a host from now on, as a list that grows."""
    places, take = [], late.take_part

    def noting(transfer, sender, number, carried):
        if carried is not None:
            places.append(carried.part.after)
        take(transfer, sender, number, carried)

    late.take_part = noting
    return places


def crash_the_joiner(cluster, leader, late):
    late.crash()
    cluster.restart(late)


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
    assert leader.core.leader_lease_left_ms(leader.clock()) > 0


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
    held = []

    def hold(source, target, message):
        if isinstance(message, Append) and message.anew and not held:
            held.append((leader.core.sender(), message))
            return False
        return True

    cluster.filters.append(hold)
    cluster.restart(late)
    assert cluster.run_while(lambda: not late.may_read() or late.disk.hard.installing, at_most=10_000)
    # What is acknowledged now is with the leader and this host.
    cluster.filters.append(
        lambda _source, target, message: not (isinstance(message, Append) and target == other.addr)
    )
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


def a_late_message_to_begin_anew_is_of_what_the_log_has_dropped(stage):
    cluster, leader, late, other = left_behind(stage)
    held = []

    def hold(_source, _target, message):
        if isinstance(message, Append) and message.anew and not held:
            held.append((leader.core.sender(), message))
            return False
        return True

    cluster.filters.append(hold)
    cluster.restart(late)
    assert cluster.run_while(lambda: not late.may_read(), at_most=10_000)
    write_all(cluster, leader)
    begins_at = held[0][1].prev_index
    assert cluster.run_while(lambda: late.core.state.log.base_index <= begins_at, at_most=1000)
    # What is acknowledged now is with the leader and this host.
    cluster.filters.append(
        lambda _source, target, message: not (isinstance(message, Append) and target == other.addr)
    )
    cluster.write(leader, "k", 1)
    late.receive(*held[0])
    assert late.disk.hard.installing is None
    assert late.disk.applied > begins_at


def a_host_begins_anew_with_a_change_that_was_never_committed(stage):
    """It ordered that as a leader on its own. Once it leads again, the same change is sent again, and is done."""
    cluster = stage(log_bytes=2000)
    lonely = cluster.settle()
    rest = cluster.followers()
    cluster.cut([lonely], rest)
    lost = cluster.submit(lonely.addr, INCR, AckLevel.LEADER, timeout=3000, req_id="lost")
    cluster.run(50)
    assert lost.ended.refusal is None
    assert cluster.run_while(lambda: not any(host.core.accepts for host in rest), at_most=15_000)
    leader = next(host for host in rest if host.core.accepts)
    write_all(cluster, leader)
    cluster.network.heal()
    assert cluster.run_while(lambda: not lonely.may_read(), at_most=15_000)
    assert cluster.transfers == 1
    for host in rest:
        silence(cluster, host)
    leader.crash()
    for host in cluster.followers_of(leader):
        cluster.connection_refused(host.addr, leader.addr)
    assert cluster.run_while(lambda: not lonely.core.accepts, at_most=15_000)
    again = cluster.submit(lonely.addr, INCR, AckLevel.QUORUM, timeout=3000, req_id="lost", since=1)
    assert cluster.run_while(lambda: again.ended is None, at_most=500)
    assert again.ended.refusal is None
    assert cluster.value(lonely, "n") == 1


def the_leader_dies_while_the_joiner_has_more_of_its_log_than_the_other(stage):
    cluster, leader, late, other = left_behind(stage, part_time=200.0)
    cluster.restart(late)
    in_the_middle(cluster, late)
    # What the other one has not is not committed, whatever the joiner acknowledges.
    cluster.filters.append(
        lambda _source, target, message: not (isinstance(message, Append) and target == other.addr)
    )
    operation = cluster.put(leader, "k", 1)
    cluster.run(100)
    assert late.core.state.log.last_index > other.core.state.log.last_index
    assert operation.ended is None
    leader.crash()
    cluster.filters.clear()
    for host in (late, other):
        cluster.connection_refused(host.addr, leader.addr)
    return cluster, leader, late, other


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
        again = cluster.submit(late.addr, INCR, AckLevel.QUORUM, timeout=3000, req_id=req_id, since=1)
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


# the rules by themselves


def test_a_part_is_taken_that_is_the_next_one_and_not_from_before_what_is_there():
    installing = Installing(b"k", 10)
    assert Part(b"k", b"p", 10).follows(installing)
    assert Part(b"k", b"p", 15, last=True).follows(installing)
    assert not Part(b"k", b"p", 9).follows(installing)
    assert not Part(b"a", b"k", 11).follows(installing)
    assert not Part(b"l", b"p", 11).follows(installing)
    assert not Part(b"k", b"p", 11).follows(installing._replace(whole=True))


def test_a_window_grows_while_nothing_waits_and_shrinks_when_it_does():
    window = Window(100, 1000)
    for _ in range(30):
        window.acknowledged(100, 50)
    assert window.size == 1000
    for _ in range(30):
        window.acknowledged(100, 51 + QUEUEING_MS)
    assert window.size == 100


def test_a_sender_asks_first_and_ends_with_the_peers_word():
    outgoing = Outgoing(0, window=(100, 1000))
    assert outgoing.next(0) is Next.ASK
    question = outgoing.asked(0)
    assert outgoing.next(10) is Next.WAIT
    outgoing.acknowledged(question, Installing(b"k", 5), 10, refused=False)
    assert (outgoing.next(10), outgoing.position) == (Next.READ, b"k")
    number = outgoing.sent(100, 10)
    outgoing.part_sent(Part(b"k", b"z", 7, last=True))
    assert outgoing.next(10) is Next.WAIT
    outgoing.acknowledged(number, Installing(b"z", 7, whole=True), 20, refused=False)
    while outgoing.next(2000) is Next.ASK:
        outgoing.asked(2000)
    outgoing.acknowledged(number + 1, None, 2000, refused=False)
    assert outgoing.next(2000) is Next.END
    assert outgoing.complete


def test_a_sender_whose_peer_began_anew_goes_on_from_elsewhere():
    outgoing = Outgoing(0, window=(100, 1000))
    outgoing.acknowledged(outgoing.asked(0), Installing(b"k", 5), 10, refused=False)
    outgoing.part_sent(Part(b"k", b"z", 7, last=True))
    outgoing.acknowledged(outgoing.asked(10), Installing(b"", 50), 20, refused=False)
    assert outgoing.next(20) is Next.END
    assert not outgoing.complete


def test_slow_is_no_reason_to_give_a_transfer_up_and_silence_is():
    outgoing = Outgoing(0, window=(100, 1000), silence_ms=30_000)
    outgoing.acknowledged(outgoing.asked(0), Installing(b"", 5), 10, refused=False)
    now = 10
    for _ in range(100):
        number = outgoing.sent(100, now)
        now += 29_000
        assert outgoing.next(now) is not Next.END
        outgoing.acknowledged(number, Installing(b"", 5), now, refused=False)
    outgoing.sent(100, now)
    assert outgoing.next(now + 30_000) is Next.END


# schedules that bugs walk into


def the_last_part_comes_when_the_log_is_further(stage):
    cluster, leader, late, other = left_behind(stage)
    cluster.restart(late)
    take, held = late.take_part, []

    def hold(transfer, sender, number, carried):
        if carried is not None and carried.part.last:
            held.append((transfer, sender, number, carried))
        else:
            take(transfer, sender, number, carried)

    late.take_part = hold
    assert cluster.run_while(lambda: not held, at_most=10_000)
    first = cluster.submit(leader.addr, INCR, AckLevel.QUORUM, timeout=3000, req_id="meanwhile")
    ordered = lambda: first.ended and late.core.state.log.last_index >= first.ended.index
    assert cluster.run_while(lambda: not ordered(), at_most=500)
    late.take_part = take
    take(*held[0])
    assert cluster.run_while(lambda: not late.may_read(), at_most=5000)
    silence(cluster, other)
    leader.crash()
    for host in (late, other):
        cluster.connection_refused(host.addr, leader.addr)
    assert cluster.run_while(lambda: not late.core.accepts, at_most=15_000)
    again = cluster.submit(late.addr, INCR, AckLevel.QUORUM, timeout=3000, req_id="meanwhile", since=1)
    cluster.run(500)
    assert again.ended.outcome == b"1"


def the_joiner_forgets_requests_before_the_last_part_comes(stage, *, restarts=False):
    """Its own table is full before that part is there, which was read when nothing of that had been forgotten."""
    cluster, leader, late, other = left_behind(stage, request_table=8)
    cluster.restart(late)
    take, held = late.take_part, []

    def hold(transfer, sender, number, carried):
        if carried is not None and carried.part.last:
            held.append((transfer, sender, number, carried))
        else:
            take(transfer, sender, number, carried)

    late.take_part = hold
    assert cluster.run_while(lambda: not held, at_most=10_000)
    first = cluster.submit(leader.addr, INCR, AckLevel.QUORUM, timeout=3000, req_id="meanwhile")
    assert cluster.run_while(lambda: first.ended is None, at_most=500)
    write_all(cluster, leader)
    assert cluster.run_while(lambda: late.core.table.floor < first.ended.index, at_most=500)
    late.take_part = take
    take(*held[0])
    if restarts:
        assert cluster.run_while(lambda: late.disk.base[0] < first.ended.index, at_most=500)
        crash_the_joiner(cluster, leader, late)
    assert cluster.run_while(lambda: not late.may_read(), at_most=5000)
    silence(cluster, other)
    leader.crash()
    for host in (late, other):
        cluster.connection_refused(host.addr, leader.addr)
    assert cluster.run_while(lambda: not late.core.accepts, at_most=15_000)
    since = first.ended.index - 1
    again = cluster.submit(late.addr, INCR, AckLevel.QUORUM, timeout=3000, req_id="meanwhile", since=since)
    assert cluster.run_while(lambda: again.ended is None, at_most=500)
    assert again.ended.refusal is Refusal.OUTCOME_UNKNOWN


def the_joiner_forgets_requests_and_restarts(stage):
    the_joiner_forgets_requests_before_the_last_part_comes(stage, restarts=True)


def the_joiner_has_a_part_from_ahead_of_what_the_next_leader_knows(stage, *, lost=False):
    """It takes none from before that. Without it nothing can be committed, and what is not cannot be in a part."""
    cluster, leader, late, other = left_behind(stage)
    cluster.restart(late)
    in_the_middle(cluster, late)

    def passes(_source, target, message):
        if isinstance(message, Append):
            return target == other.addr and bool(message.entries)
        return not isinstance(message, Ping)

    cluster.filters.append(passes)
    operation = cluster.put(leader, "k", 1)
    assert cluster.run_while(lambda: late.disk.hard.installing.reached <= late.disk.applied, at_most=500)
    assert operation.ended.index == late.disk.hard.installing.reached > other.core.state.commit
    leader.crash(wipe=lost)
    cluster.filters.clear()
    for host in (late, other):
        cluster.connection_refused(host.addr, leader.addr)
    if lost:
        cluster.restart(leader)
    assert cluster.run_while(lambda: not late.may_read(), at_most=15_000)
    cluster.write(late, "k", 2)
    cluster.restart(leader)
    assert_equal(cluster)


def the_joiner_has_a_part_from_ahead_and_the_leader_loses_its_directory(stage):
    the_joiner_has_a_part_from_ahead_of_what_the_next_leader_knows(stage, lost=True)


def a_part_comes_after_the_transfer_began_anew(stage):
    cluster, leader, late, _ = left_behind(stage)
    cluster.restart(late)
    take, held = late.take_part, []

    def hold(transfer, sender, number, carried):
        if carried is not None:
            held.append((transfer, sender, number, carried))
        else:
            take(transfer, sender, number, carried)

    late.take_part = hold
    assert cluster.run_while(lambda: not held, at_most=5000)
    first = held[0]
    cluster.cut([leader], [late])
    for number in range(KEYS):
        cluster.write(leader, f"k{number:02}", 100 + number)
    cluster.network.heal()
    start = late.disk.base
    assert cluster.run_while(lambda: late.disk.base == start, at_most=5000)
    late.take_part = take
    take(*first)
    assert_equal(cluster)


def a_reader_is_sent_a_replica(stage):
    """It misses a second of the log, and begins anew while its lease still holds."""
    cluster = stage(log_bytes=2000, part_time=100.0)
    leader = cluster.settle()
    late, _ = cluster.followers()
    write_all(cluster, leader)
    assert cluster.run_while(lambda: late.disk.applied < leader.disk.applied, at_most=1000)
    loses = lambda _source, target, message: not (isinstance(message, Append) and target == late.addr)
    cluster.filters.append(loses)
    for number in range(KEYS):
        cluster.put(leader, f"k{number:02}", 100 + number)
        cluster.run(3)
    cluster.filters.remove(loses)
    assert late.may_read()
    for _ in range(200):
        cluster.run(5)
        if late.may_read():
            cluster.invariants.read(late)
    assert cluster.transfers == 1


def the_log_is_there_before_the_parts(stage):
    cluster, leader, late, _ = left_behind(stage, part_time=100.0)
    cluster.restart(late)
    in_the_middle(cluster, late)
    for number in range(KEYS):
        cluster.write(leader, f"k{number * 7 % KEYS:02}", 100 + number)
        cluster.run(30)
    assert_equal(cluster)


def the_parts_are_there_before_the_log(stage):
    cluster, leader, late, _ = left_behind(stage, append_bytes=200)
    cluster.restart(late)
    in_the_middle(cluster, late)
    held = []

    def hold(_source, target, message):
        if isinstance(message, Append) and message.entries and target == late.addr:
            held.append(message)
            return False
        return True

    cluster.filters.append(hold)
    for number in range(KEYS - 6, KEYS):
        cluster.write(leader, f"k{number:02}", 100 + number)
        cluster.write(leader, f"k{number:02}", 200 + number)
    cluster.run(1500)
    cluster.filters.clear()
    assert_equal(cluster)


def an_incomplete_replica_is_alone_with_the_other(stage):
    cluster, leader, late, other = left_behind(stage, part_time=200.0)
    cluster.restart(late)
    in_the_middle(cluster, late)

    def asks_nobody(source, _target, message):
        assert not (isinstance(message, LeaderReq) and source == late.addr)
        return True

    cluster.filters.append(asks_nobody)
    silence(cluster, other)
    leader.crash()
    cluster.run(4 * cluster.plan.election_timeout)
    cluster.restart(leader)
    assert_equal(cluster)


# deliberate bugs


def forget_the_log_after_the_last_part(monkeypatch):
    arrives = Core.part_arrives

    def forgetful(self, sender, term, part, now, requests=()):
        taken = arrives(self, sender, term, part, now, requests)
        if taken and part is not None and part.last:
            self.table.forget(self.state.log.between(part.index + 1, self.state.log.last_index))
        return taken

    monkeypatch.setattr(Core, "part_arrives", forgetful)


def take_a_part_from_before_what_is_there(monkeypatch):
    monkeypatch.setattr(
        Part, "follows", lambda self, installing: not installing.whole and self.after == installing.position
    )


def begin_anew_whatever_the_log_holds(monkeypatch):
    monkeypatch.setattr(Installation, "_is_known", lambda self, append: False)


def begin_anew_at_what_the_log_has_dropped(monkeypatch):
    is_known = Installation._is_known

    def trusting(self, append):
        return append.prev_index >= self._state.log.base_index and is_known(self, append)

    monkeypatch.setattr(Installation, "_is_known", trusting)


def keep_the_requests_when_the_replica_goes(monkeypatch):
    begin = Installation.begin

    def keeping(self, append):
        with monkeypatch.context() as patch:
            patch.setattr(RequestTable, "clear", lambda self: None)
            begin(self, append)

    monkeypatch.setattr(Installation, "begin", keeping)


def keep_the_lease_when_the_replica_goes(monkeypatch):
    monkeypatch.setattr(HostLease, "revoke", lambda self: None)


def vote_by_the_whole_log(monkeypatch):
    monkeypatch.setattr(
        NodeState,
        "up_to_date",
        lambda self, last_index, last_term: self.log.up_to_date(last_index, last_term),
    )


def vote_for_anybody_while_installing(monkeypatch):
    up_to_date = NodeState.up_to_date

    def careless(self, last_index, last_term):
        return self.hard.installing is not None or up_to_date(self, last_index, last_term)

    monkeypatch.setattr(NodeState, "up_to_date", careless)


def campaign_while_installing(monkeypatch):
    tick = Election.tick

    def eager(self, now):
        tick(self, now)
        hard = self._state.hard
        if hard.installing and not hard.fresh and now >= self._detector.deadline_ms:
            self.start(now, pre_vote=True)

    monkeypatch.setattr(Election, "tick", eager)


def count_an_incomplete_replica(monkeypatch):
    monkeypatch.setattr(Progress, "holds", lambda self: not self.fresh)


def believe_a_late_acknowledgement(monkeypatch):
    on_append_ack = LeaderReplication.on_append_ack

    def trusting(self, progress, ack, now):
        on_append_ack(self, progress, ack, now)
        progress.installing = ack.installing

    monkeypatch.setattr(LeaderReplication, "on_append_ack", trusting)


def apply_beyond_the_latest_part(monkeypatch):
    monkeypatch.setattr(NodeState, "applicable", property(lambda self: self.commit))


def be_whole_with_the_last_part(monkeypatch):
    def finish(self):
        installing = self._state.hard.installing
        if installing is not None and installing.whole:
            self._state.harden(installing=None)

    monkeypatch.setattr(Installation, "finish", finish)


def go_back_to_the_floor_of_the_last_part(monkeypatch):
    arrives = Core.part_arrives

    def going_back(self, sender, term, part, now, requests=()):
        if part is not None and part.last:
            self.table.floor = min(self.table.floor, part.floor)
        return arrives(self, sender, term, part, now, requests)

    monkeypatch.setattr(Core, "part_arrives", going_back)


def say_only_what_is_applied(monkeypatch):
    monkeypatch.setattr(NodeState, "surely_committed", property(lambda self: self.applied))


SCHEDULES = [
    a_late_message_to_begin_anew_is_of_what_the_log_has_dropped,
    a_host_begins_anew_with_a_change_that_was_never_committed,
    the_last_part_comes_when_the_log_is_further,
    the_joiner_forgets_requests_before_the_last_part_comes,
    the_joiner_forgets_requests_and_restarts,
    the_joiner_has_a_part_from_ahead_of_what_the_next_leader_knows,
    the_joiner_has_a_part_from_ahead_and_the_leader_loses_its_directory,
    a_part_comes_after_the_transfer_began_anew,
    a_reader_is_sent_a_replica,
    the_log_is_there_before_the_parts,
    the_parts_are_there_before_the_log,
    an_incomplete_replica_is_alone_with_the_other,
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.__name__)
def test_no_invariant_breaks_in(stage, schedule):
    schedule(stage)


BUGS = [
    (forget_the_log_after_the_last_part, the_last_part_comes_when_the_log_is_further),
    (take_a_part_from_before_what_is_there, a_part_comes_after_the_transfer_began_anew),
    (begin_anew_whatever_the_log_holds, test_a_late_message_to_begin_anew_takes_nothing_from_a_member),
    (begin_anew_at_what_the_log_has_dropped, a_late_message_to_begin_anew_is_of_what_the_log_has_dropped),
    (keep_the_requests_when_the_replica_goes, a_host_begins_anew_with_a_change_that_was_never_committed),
    (keep_the_lease_when_the_replica_goes, a_reader_is_sent_a_replica),
    (vote_by_the_whole_log, test_an_incomplete_replica_does_not_keep_a_cluster_without_a_leader),
    (
        vote_for_anybody_while_installing,
        test_a_vote_of_an_incomplete_replica_is_for_who_has_all_it_applied,
    ),
    (campaign_while_installing, an_incomplete_replica_is_alone_with_the_other),
    (count_an_incomplete_replica, test_an_incomplete_replica_does_not_keep_a_cluster_without_a_leader),
    (
        believe_a_late_acknowledgement,
        test_an_acknowledgement_from_before_a_host_began_anew_says_nothing_of_now,
    ),
    (apply_beyond_the_latest_part, the_log_is_there_before_the_parts),
    (be_whole_with_the_last_part, the_parts_are_there_before_the_log),
    (go_back_to_the_floor_of_the_last_part, the_joiner_forgets_requests_before_the_last_part_comes),
    (say_only_what_is_applied, the_joiner_has_a_part_from_ahead_of_what_the_next_leader_knows),
    (say_only_what_is_applied, the_joiner_has_a_part_from_ahead_and_the_leader_loses_its_directory),
]


@pytest.mark.parametrize(("bug", "schedule"), BUGS, ids=lambda given: given.__name__)
def test_a_deliberate_bug_is_found_by_its_schedule(monkeypatch, stage, bug, schedule):
    bug(monkeypatch)
    with pytest.raises(AssertionError) as caught:
        schedule(stage)
    # The core's own assertions may stop what they should not have to.
    assert "tests" in caught.traceback[-1].path.parts
