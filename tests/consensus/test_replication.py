"""The log: Raft thesis, sections 3.5 and 3.6; retries; acknowledgement at every host."""

from __future__ import annotations

import pytest

from django_hacache.consensus.messages import (
    AckLevel,
    Append,
    AppendAck,
    Forward,
    ForwardReply,
    NeverOrdered,
    Ping,
    Refusal,
)
from django_hacache.consensus.state import Role
from tests.consensus.verbs import hold_back
from tests.simulation.kv import Command


def test_a_tail_that_nobody_else_has_gives_way_to_the_new_leader(stage):
    cluster = stage()
    old = cluster.settle()
    rest = cluster.followers()
    cluster.cut([old], rest)
    lost = cluster.put(old, "k", 1, AckLevel.QUORUM, timeout=1500)
    cluster.run(6000)
    new = next(host for host in rest if host.core.accepts)
    cluster.write(new, "k", 2)
    cluster.network.heal()
    cluster.settle()
    assert lost.ended.refusal is Refusal.OUTCOME_UNKNOWN
    cluster.run(500)
    assert [cluster.value(host, "k") for host in cluster.hosts.values()] == [2, 2, 2]


def test_a_write_at_level_all_waits_out_the_lease_of_a_frozen_host(stage):
    cluster = stage()
    leader = cluster.settle()
    cluster.run(2000)
    frozen = cluster.followers()[0]
    frozen.pause()
    began = cluster.now
    cluster.write(leader, "k", 1, AckLevel.ALL)
    assert not frozen.may_read()
    assert cluster.plan.lease * 0.5 < cluster.now - began <= cluster.plan.lease + 300


def test_a_change_that_meets_a_change_of_leaders_takes_effect_once(stage):
    cluster = stage()
    leader = cluster.settle()
    follower = cluster.followers()[0]
    passes = lambda source, target, message: type(message).__name__ != "ForwardReply"
    cluster.filters.append(passes)
    operation = cluster.submit(follower.addr, Command("incr", "n", 1), AckLevel.ALL, timeout=15_000)
    cluster.run(30)
    leader.crash()
    cluster.filters.remove(passes)
    cluster.run(8000)
    assert operation.ended is not None
    assert operation.ended.refusal is None
    assert operation.ended.outcome == b"1"
    assert cluster.value(cluster.leader(), "n") == 1


def test_a_retry_that_the_bounded_table_may_have_forgotten_is_refused(stage):
    cluster = stage(request_table=4)
    leader = cluster.settle()
    follower = cluster.followers()[0]
    passes = lambda source, target, message: (
        type(message).__name__ not in ("ForwardReply", "Append", "Ping") or (target != follower.addr)
    )
    cluster.filters.append(passes)
    operation = cluster.submit(follower.addr, Command("incr", "n", 1), AckLevel.ALL, timeout=1900)
    cluster.run(50)
    for number in range(20):
        cluster.put(leader, "k", number)
        cluster.run(20)
    cluster.filters.remove(passes)
    cluster.run(1500)
    assert operation.ended is not None
    assert cluster.value(leader, "n") == 1


@pytest.mark.parametrize("restarts", [False, True])
def test_what_a_worker_sends_again_after_the_table_may_have_forgotten_it_is_refused(stage, restarts):
    """The host's own record of it is gone: it was answered and the answer was lost, or its process is another one."""
    cluster = stage(request_table=4)
    leader = cluster.settle()
    host = cluster.followers()[0]
    incr = Command("incr", "n", 1)
    since = host.core.state.applied
    cluster.submit(host.addr, incr, AckLevel.QUORUM, timeout=3000, req_id="same")
    cluster.run(1.5 if restarts else 50)
    if restarts:
        host.crash()
    for number in range(20):
        cluster.put(leader, f"k{number}", number)
    cluster.run(100)
    if restarts:
        cluster.restart(host)
        cluster.run(400)
    for sender in (host, leader):
        again = cluster.submit(sender.addr, incr, AckLevel.QUORUM, timeout=3000, req_id="same", since=since)
        cluster.run(500)
        assert again.ended.refusal is Refusal.OUTCOME_UNKNOWN
    assert cluster.value(leader, "n") == 1


@pytest.mark.parametrize("remembered", [True, False])
def test_what_a_worker_sends_again_to_a_host_that_has_lost_everything_takes_effect_once(stage, remembered):
    """The host joins the very order in which the first one took effect: it keeps the worker's word of when that was."""
    cluster = stage(request_table=8)
    leader = cluster.settle()
    host = cluster.followers()[0]
    since = host.core.state.applied
    incr = Command("incr", "n", 1)
    cluster.submit(host.addr, incr, AckLevel.QUORUM, timeout=3000, req_id="same")
    cluster.run(50)
    host.crash(wipe=True)
    for number in range(2 if remembered else 20):
        cluster.put(leader, f"k{number}", number)
    cluster.run(100)
    cluster.restart(host)
    again = cluster.submit(host.addr, incr, AckLevel.QUORUM, timeout=4000, req_id="same", since=since)
    cluster.run(3000)
    expected = (None, b"1") if remembered else (Refusal.OUTCOME_UNKNOWN, b"")
    assert (again.ended.refusal, again.ended.outcome) == expected
    assert cluster.value(leader, "n") == 1


def test_what_a_worker_sends_again_to_a_host_that_has_lost_everything_is_done_where_it_never_was(stage):
    cluster = stage(request_table=8)
    leader = cluster.settle()
    host = cluster.followers()[0]
    for number in range(20):
        cluster.write(leader, "k", number)
    since = host.core.state.applied
    host.crash(wipe=True)
    cluster.restart(host)
    again = cluster.submit(
        host.addr, Command("incr", "n", 1), AckLevel.QUORUM, timeout=4000, req_id="same", since=since
    )
    cluster.run(3000)
    assert (again.ended.refusal, again.ended.outcome) == (None, b"1")


def test_a_word_of_an_earlier_generation_says_nothing_of_this_one_nor_once_its_order_is_as_long(stage):
    cluster = stage(request_table=4)
    leader = cluster.settle()
    since = leader.core.state.log.last_index + 10
    for sender in (*cluster.followers(), leader):
        first, again = (
            cluster.submit(
                sender.addr,
                Command("incr", "n", 1),
                AckLevel.QUORUM,
                timeout=3000,
                req_id="same",
                since=since,
            )
            for _ in range(2)
        )
        cluster.run(100)
        assert {first.ended.refusal, again.ended.refusal} == {Refusal.OUTCOME_UNKNOWN}
        for number in range(20):
            cluster.put(leader, f"k{number}", number)
        cluster.run(100)
    assert cluster.value(leader, "n") is None


def test_a_host_without_room_answers_a_retry_from_its_table_and_never_says_that_it_did_not_happen(stage):
    cluster = stage(pending_requests=1)
    leader = cluster.settle()
    host, other = cluster.followers()
    incr = Command("incr", "n", 1)
    since = host.core.state.applied
    cluster.submit(host.addr, incr, AckLevel.QUORUM, timeout=3000, req_id="done")
    cluster.run(50)
    cluster.cut([other], [leader, host])
    cluster.put(host, "k", 1, AckLevel.ALL)
    cluster.run(50)
    done, unknown = (
        cluster.submit(host.addr, incr, AckLevel.QUORUM, timeout=3000, req_id=req_id, since=since)
        for req_id in ("done", "who knows")
    )
    new = cluster.submit(host.addr, incr, AckLevel.QUORUM, timeout=3000, req_id="new")
    assert (done.ended.refusal, done.ended.outcome) == (None, b"1")
    assert unknown.ended.refusal is Refusal.OUTCOME_UNKNOWN
    assert new.ended.refusal is Refusal.BUSY


def test_what_a_worker_sends_again_soon_is_answered_as_the_first_time(stage):
    cluster = stage()
    leader = cluster.settle()
    host = cluster.followers()[0]
    since = host.core.state.applied
    for _ in range(3):
        operation = cluster.submit(
            host.addr, Command("incr", "n", 1), AckLevel.QUORUM, timeout=3000, req_id="same", since=since
        )
        cluster.run(100)
        assert (operation.ended.refusal, operation.ended.outcome) == (None, b"1")
    assert cluster.value(leader, "n") == 1


def test_who_asks_with_the_same_id_while_the_first_waits_ends_the_wait_of_the_first(stage):
    cluster = stage()
    leader = cluster.settle()
    first, second = (
        cluster.submit(leader.addr, Command("incr", "n", 1), AckLevel.QUORUM, timeout=3000, req_id="same")
        for _ in range(2)
    )
    cluster.run(100)
    assert first.ended.refusal is Refusal.OUTCOME_UNKNOWN
    assert (second.ended.refusal, second.ended.outcome) == (None, b"1")


def test_without_a_leader_a_change_is_refused_as_not_done(stage):
    cluster = stage()
    leader = cluster.settle()
    rest = cluster.followers()
    for host in rest:
        host.crash()
    cluster.run(5000)
    operation = cluster.put(leader, "k", 1, timeout=1000)
    cluster.run(1500)
    assert operation.ended.refusal is Refusal.NO_QUORUM


def test_a_follower_that_is_further_behind_than_the_log_gets_a_snapshot(stage):
    cluster = stage(log_bytes=1000)
    leader = cluster.settle()
    late = cluster.followers()[0]
    late.crash()
    for number in range(50):
        cluster.write(leader, f"k{number % 7}", number)
    before = cluster.transfers
    cluster.restart(late)
    cluster.run(3000)
    assert cluster.transfers > before
    assert cluster.invariants.equal(list(cluster.hosts.values()))
    assert late.may_read()


def test_an_answer_to_a_shorter_append_does_not_hide_that_the_longer_one_was_lost(stage):
    cluster = stage()
    leader = cluster.settle()
    late = cluster.followers()[0]
    held = []

    def hold(source, target, message):
        if isinstance(message, Append) and message.entries and target == late.addr:
            held.append((leader.core.sender(), message))
            return False
        return True

    cluster.filters.append(hold)
    cluster.put(leader, "k", 1)
    cluster.run(50)
    cluster.put(leader, "k", 2)
    assert cluster.run_while(lambda: len(held) < 2, at_most=3000)
    shorter, longer = held[0][1], held[1][1]
    assert shorter.prev_index == longer.prev_index
    assert len(shorter.entries) < len(longer.entries)
    cluster.filters.clear()
    late.receive(*held[0])
    cluster.run(1500)
    assert cluster.value(late, "k") == 2


def test_an_entry_of_an_earlier_term_is_committed_only_by_one_of_the_leaders_own(stage):
    """Raft thesis, figure 3.7: what counting alone would commit could still be overwritten."""
    cluster = stage()
    leader = cluster.settle()
    rest = cluster.followers()
    replication, state = leader.core.replication, leader.core.state
    cluster.cut([leader], rest)
    cluster.put(leader, "k", 1, AckLevel.LEADER)
    index = state.log.last_index
    state.harden(term=state.term + 1)
    for progress in replication.progress.values():
        progress.match_index = index
    assert not replication.advance_commit()


def test_a_change_that_was_sent_before_and_is_refused_as_busy_may_have_happened(stage):
    """It was ordered by a leader whose answer got lost; the one that it is sent to again has no room for it."""
    cluster = stage()
    leader = cluster.settle()
    follower = cluster.followers()[0]
    cluster.filters.append(lambda _source, _target, message: not isinstance(message, ForwardReply | Append))
    forwards = []
    cluster.filters.append(lambda _s, _t, message: forwards.append(message) or True)
    operation = cluster.put(follower, "k", 1, timeout=5000)
    cluster.run(1500)
    sent = [message for message in forwards if isinstance(message, Forward)]
    assert len({message.timeout_ms for message in sent}) > 1  # each is sent with the time that is left
    follower.receive(leader.core.sender(), ForwardReply(sent[0].req_id, refusal=Refusal.BUSY))
    cluster.filters.clear()
    cluster.run_while(lambda: operation.ended is None, at_most=100)
    assert operation.ended.refusal is Refusal.OUTCOME_UNKNOWN
    cluster.run(2000)
    assert cluster.value(follower, "k") == 1


def test_a_follower_that_was_down_when_it_was_told_what_is_committed_is_told_again(stage):
    cluster = stage()
    leader = cluster.settle()
    late = cluster.followers()[0]
    cluster.put(leader, "k", 1)
    told = []

    def lose(source, target, message):
        tells = isinstance(message, Append) and not message.entries and target == late.addr
        told.extend([message] * tells)
        return not tells

    cluster.filters.append(lose)
    assert cluster.run_while(lambda: not told, at_most=1000)
    late.crash()
    cluster.filters.remove(lose)
    cluster.run(500)
    late.start()  # and nobody notices: its link was down
    cluster.run(2500)
    assert cluster.value(late, "k") == 1
    assert late.may_read()


def test_what_the_evaluator_refuses_is_never_ordered_and_who_asked_learns_why(stage):
    cluster = stage()
    leader = cluster.settle()
    evaluate = leader.evaluator.evaluate

    def strict(command, index, now):
        if command.key == "poison":
            raise NeverOrdered(Refusal.TOO_LARGE, "by far")
        return evaluate(command, index, now)

    leader.evaluator.evaluate = strict
    before = leader.core.state.log.last_index
    for host in cluster.hosts.values():
        operation = cluster.put(host, "poison", 1)
        cluster.run(50)
        assert (operation.ended.refusal, operation.ended.reason) == (Refusal.TOO_LARGE, "by far")
    assert leader.core.state.log.last_index == before
    assert leader.core.pending == 0
    cluster.write(cluster.followers()[0], "k", 1)


def test_a_leader_learns_from_a_follower_what_was_committed_before_its_term(stage):
    """It may be long before it commits anything itself, and a follower may wait for that leader to have applied it."""
    cluster = stage()
    leader = cluster.settle()
    new, knowing = cluster.followers()
    index = leader.core.state.log.last_index + 1
    cluster.filters.append(
        lambda source, target, message: (
            target != new.addr
            or not isinstance(message, Ping | Append)
            or bool(getattr(message, "entries", ()))
        )
    )
    cluster.write(leader, "k", 1)
    cluster.run(100)
    assert knowing.core.state.applied >= index > new.core.state.commit
    leader.crash()
    hold_back(knowing)
    cluster.filters[:] = [lambda source, target, message: not isinstance(message, AppendAck)]
    cluster.connection_refused(new.addr, leader.addr)
    cluster.connection_refused(knowing.addr, leader.addr)
    assert cluster.run_while(lambda: new.core.role is not Role.LEADER, at_most=5000)
    cluster.run(300)
    assert not new.core.accepts
    assert cluster.value(new, "k") == 1


@pytest.mark.parametrize("kind", [Forward, Append])
def test_what_is_large_gets_the_time_to_be_taken_before_it_is_sent_again(stage, kind):
    """A second copy of many bytes keeps the other side from the first one, and its heartbeats too."""
    cluster = stage(size_limit=1 << 30, pending_bytes=1 << 30, log_bytes=1 << 30, election_timeout=5000)
    leader = cluster.settle()
    host = cluster.followers()[0] if kind is Forward else leader
    sent = []

    def drop(source, target, message):
        if isinstance(message, Forward) or (isinstance(message, Append) and message.entries):
            sent.append((cluster.now, target))
            return False
        return True

    cluster.filters.append(drop)
    size = 16 << 20
    cluster.submit(host.addr, Command("set", "k", 1, padding=size), AckLevel.QUORUM, timeout=8000)
    assert cluster.run_while(lambda: len({at for at, _ in sent}) < 2, at_most=6000)
    first, second = sorted({at for at, target in sent if target == sent[0][1]})[:2]
    assert second - first >= host.config.patience_ms(size) > host.config.resend_ms + 1000


def test_a_peer_whose_log_is_not_known_is_sent_nothing_heavy(stage):
    """It may refuse that, and its connections are just coming up: it could travel twice."""
    cluster = stage()
    leader = cluster.settle()
    late, other = cluster.followers()
    cluster.cut([late], [leader, other])
    cluster.submit(leader.addr, Command("set", "k", 1, padding=100_000), AckLevel.QUORUM, timeout=1000)
    cluster.run(500)
    sent = []

    def note(_source, target, message):
        if isinstance(message, Append) and target == late.addr:
            sent.append((message.prev_index, sum(len(entry.effect) for entry in message.entries)))
        return True

    cluster.filters.append(note)
    cluster.network.heal()
    leader.core.peer_connected(late.addr, leader.clock())
    cluster.run(2000)
    (heavy,) = [number for number, (_, size) in enumerate(sent) if size > 100_000]
    assert sent[heavy][0] in [place for place, _ in sent[:heavy]]
    assert cluster.value(late, "k") == 1
