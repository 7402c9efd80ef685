"""The log: Raft thesis, sections 3.5 and 3.6; acknowledgement at every host."""

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


@pytest.mark.parametrize("busy", [False, True])
def test_a_write_at_level_all_takes_two_round_trips(stage, busy):
    """Entries and their commit go to every follower at once, and each applies at once: none waits for a batch."""
    cluster = stage()
    hosts = [cluster.settle(), *cluster.followers()]
    cluster.run(2000)  # an earlier leader's leases might hold
    for number, host in enumerate(hosts * 4):
        write = cluster.put(host, "k", number, AckLevel.ALL)
        forwarded = 0 if host is hosts[0] else 2
        in_flight = 2 if busy else 0
        for _ in range(4 + forwarded + in_flight):
            # Entries that nobody waits for on a follower are on their way at any moment, with what is committed.
            later = [cluster.put(hosts[0], "other", number)] if busy else []
            cluster.run(1)
        assert write.ended is not None
        assert write.ended.refusal is None
        cluster.run(50)
        assert all(one.ended is not None for one in later)


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
