"""Nodes that lost their directories, and what becomes of the cluster."""

from __future__ import annotations

import pytest

from django_hacache.consensus.messages import (
    AckLevel,
    Append,
    AppendAck,
    Generation,
    LeaderReq,
    LeaderReqAck,
    Ping,
    Sender,
)
from tests.consensus.verbs import raise_generations


def test_a_fresh_node_neither_votes_nor_counts_until_it_is_admitted(stage):
    cluster = stage()
    leader = cluster.settle()
    fresh, other = cluster.followers()
    fresh.crash(wipe=True)
    other.crash()
    cluster.restart(fresh)
    votes = []
    cluster.filters.append(
        lambda source, target, m: (
            not (isinstance(m, LeaderReqAck) and m.granted and source == fresh.addr and votes.append(m))
        )
    )
    operation = cluster.put(leader, "k", 1, timeout=1500)
    cluster.run(1800)
    assert operation.ended.refusal is not None
    assert fresh.disk.hard.fresh
    assert not votes
    cluster.restart(other)
    cluster.settle()
    assert not fresh.disk.hard.fresh


def test_a_fresh_node_is_not_admitted_without_the_entry_that_speaks_for_it(stage):
    """That a majority has it is not enough: it is what keeps the fresh node from voting for a log without it."""
    cluster = stage()
    cluster.settle()
    fresh, _ = cluster.followers()
    fresh.crash(wipe=True)
    cluster.filters.append(lambda _source, target, m: not (isinstance(m, Append) and target == fresh.addr))
    cluster.restart(fresh)
    cluster.run(1000)
    assert fresh.disk.hard.fresh
    cluster.filters.clear()
    cluster.settle()


def test_a_fresh_node_is_not_admitted_before_its_replica_is_whole(stage):
    """Until then it votes by what it has applied, and that may be from before the term that it was admitted in."""
    cluster = stage(log_bytes=2000, part_time=100.0)
    leader = cluster.settle()
    fresh, _ = cluster.followers()
    fresh.crash(wipe=True)
    for number in range(40):
        cluster.write(leader, f"k{number:02}", number)
    cluster.restart(fresh)
    assert cluster.run_while(lambda: not fresh.disk.hard.installing, at_most=500)
    while fresh.disk.hard.installing:
        assert fresh.disk.hard.fresh
        cluster.run(10)
    cluster.settle()


def test_a_fresh_node_in_a_later_term_than_its_leader_is_not_left_outside(stage):
    """It tried to form a generation, and the one that lives is in a term that it would take for over."""
    cluster = stage()
    leader = cluster.settle()
    fresh, _ = cluster.followers()
    fresh.crash(wipe=True)
    appends = lambda _source, target, m: not (isinstance(m, Append) and target == fresh.addr)
    cluster.filters.append(appends)
    cluster.restart(fresh)
    cluster.run(500)
    fresh.core.state.harden(term=leader.core.hard.term + 3)
    fresh.step()
    cluster.cut([fresh], cluster.followers_of(fresh))
    cluster.run(2 * cluster.plan.election_timeout)
    cluster.network.heal()
    cluster.filters.clear()
    assert cluster.settle() is leader


def test_a_fresh_node_farther_away_than_the_others_is_admitted_under_steady_writes(stage):
    cluster = stage()
    leader = cluster.settle()
    far, _ = cluster.followers()
    deliver = cluster.deliver
    cluster.deliver = lambda source, target, *rest: cluster.at(
        cluster.now + (8 if far.addr in (source, target) else 0), deliver, source, target, *rest
    )
    far.crash(wipe=True)
    cluster.run(300)
    cluster.restart(far)
    for number in range(500):
        cluster.put(leader, f"k{number % 50}", number)
        cluster.run(2)
    assert not far.disk.hard.fresh


def test_a_new_leader_admits_nobody_before_it_knows_what_is_committed(stage):
    """Its commit index may lie behind an entry that the lost node had helped to commit."""
    cluster = stage(5)
    leader = cluster.settle()
    cluster.run(1000)
    lost, _heir, *rest = cluster.followers()
    apart = cluster.followers()[2:]
    cluster.cut([leader], apart)
    operation = cluster.put(leader, "k", 1)
    cluster.run(50)
    assert operation.ended is not None and operation.ended.refusal is None
    leader.crash()
    lost.crash(wipe=True)
    # From now on nobody takes entries from the heir but the fresh one: it leads and cannot commit.
    cluster.filters.append(
        lambda source, target, m: not (isinstance(m, AppendAck) and source in {host.addr for host in rest})
    )
    cluster.restart(lost)
    cluster.run(8000)
    assert lost.disk.hard.fresh


@pytest.mark.parametrize("seed", range(10))
def test_an_acker_restarted_without_state_beside_a_stale_leader_loses_no_write(stage, seed):
    """The five-node trap: the stale leader must not count the acker that forgot the new leader's write."""
    cluster = stage(5, seed=seed)
    stale = cluster.settle()
    acker, lonely, *rest = cluster.followers()
    cluster.cut([stale, lonely], [acker, *rest])
    assert cluster.run_while(lambda: not any(h.core.accepts for h in (acker, *rest)), at_most=10_000)
    new = next(host for host in (acker, *rest) if host.core.accepts)
    cluster.write(new, "k", 1)
    victim = next(host for host in (acker, *rest) if host is not new)
    others = [host for host in (acker, *rest) if host is not victim]
    victim.crash(wipe=True)
    cluster.network.heal()
    cluster.cut([stale, lonely, victim], others)
    cluster.restart(victim)
    cluster.run(8000)
    assert victim.disk.hard.fresh
    cluster.network.heal()
    cluster.settle()
    cluster.run(500)
    assert {cluster.value(host, "k") for host in cluster.hosts.values()} == {1}


def test_a_lost_majority_forms_a_new_generation_with_empty_caches(stage):
    cluster = stage()
    leader = cluster.settle()
    cluster.write(leader, "k", 1, AckLevel.ALL)
    before = leader.disk.hard.generation
    cluster.invariants.majority_lost = True
    for host in cluster.followers():
        host.crash(wipe=True)
    for host in cluster.hosts.values():
        cluster.restart(host)
    cluster.run(5000)
    cluster.settle()
    assert len({host.disk.hard.generation for host in cluster.hosts.values()}) == 1
    assert leader.disk.hard.generation > before
    assert [cluster.value(host, "k") for host in cluster.hosts.values()] == [None, None, None]


def test_a_replica_that_was_incomplete_when_its_generation_was_lost_begins_the_next_one_with_nothing(stage):
    cluster = stage(log_bytes=2000, part_time=100.0)
    leader = cluster.settle()
    late, other = cluster.followers()
    late.crash()
    for number in range(40):
        cluster.write(leader, f"k{number:02}", number)
    cluster.restart(late)
    assert cluster.run_while(lambda: not late.disk.hard.installing, at_most=500)
    cluster.invariants.majority_lost = True
    for host in (leader, other):
        host.crash(wipe=True)
        cluster.restart(host)
    cluster.settle()
    cluster.write(late, "k", 1)
    assert late.disk.contents.values == {"k": 1}


def test_a_restart_of_everybody_with_directories_keeps_everything(stage):
    cluster = stage()
    leader = cluster.settle()
    cluster.write(leader, "k", 1)
    for host in cluster.hosts.values():
        host.crash()
    transfers = cluster.transfers
    cluster.start_all()
    cluster.settle()
    assert [cluster.value(host, "k") for host in cluster.hosts.values()] == [1, 1, 1]
    assert cluster.transfers == transfers


def test_what_a_node_said_before_it_started_over_is_unsaid(stage):
    """Both in one batch: signed with the new identity, an answer of the old one would be a lie."""
    cluster = stage()
    cluster.settle()
    host, other = cluster.followers()
    cluster.cut([host], cluster.followers_of(host))
    cluster.run(2 * cluster.plan.election_timeout)
    core, now, hard = host.core, host.clock(), host.core.hard
    request = LeaderReq(1, hard.term + 1, 1000, hard.term)
    core.receive(other.core.sender(), request, now)
    later = Generation(hard.generation.number + 1, "later")
    core.receive(Sender(other.addr, "another", later, False), Ping(1, 1, 1, 1), now)
    ready = core.take_ready()
    assert core.hard.fresh
    assert core.hard.generation == later
    assert not [message for _, message in ready.messages if isinstance(message, LeaderReqAck)]


def test_a_frozen_candidate_forms_no_generation_beside_the_one_that_formed_meanwhile(stage):
    cluster = stage(pauses=True, delay=(20.0, 20.0))
    forming = lambda: [host for host in cluster.hosts.values() if host.core.hard.forming is not None]
    assert cluster.run_while(lambda: not forming(), at_most=5000)
    candidate = forming()[0]
    candidate.pause()
    rest = cluster.followers_of(candidate)
    assert cluster.run_while(lambda: not any(host.core.accepts for host in rest), at_most=10_000)
    writing = next(host for host in rest if host.core.accepts)
    cluster.write(writing, "k", 1)
    candidate.resume()
    cluster.settle()
    cluster.run(500)
    assert [cluster.value(host, "k") for host in cluster.hosts.values()] == [1, 1, 1]


def test_a_change_of_an_earlier_generation_is_looked_up_in_the_new_one(stage):
    """Its commit index of the earlier one would tell the new leader that it cannot have been forgotten."""
    cluster = stage(request_table=4)
    leader = cluster.settle()
    host, other = cluster.followers()
    for number in range(30):
        cluster.write(leader, "k", number)
    forwards = []
    cluster.filters.append(
        lambda source, target, m: (
            not (type(m).__name__ == "Forward" and source == host.addr and (forwards.append(m) or True))
        )
    )
    cluster.put(host, "k", 99, timeout=60_000)
    cluster.run(50)
    cluster.invariants.majority_lost = True
    for gone in (leader, other):
        gone.crash(wipe=True)
    for gone in (leader, other):
        cluster.restart(gone)
    cluster.run(10_000)
    assert forwards[0].since > 20
    assert forwards[-1].since < 20


def test_a_generation_is_later_than_the_one_that_its_voters_had_voted_for(stage):
    """Or whoever entered that one alone would not join the leader that it meets when it comes back."""
    cluster = stage()
    lonely, *rest = cluster.hosts.values()
    raise_generations(lonely)

    def crash_it_when_it_leads(source, target, m):
        if source == lonely.addr and isinstance(m, LeaderReq):
            lonely.armed = "after"
        return True

    cluster.filters.append(crash_it_when_it_leads)
    assert cluster.run_while(lambda: not any(host.core.accepts for host in rest), at_most=10_000)
    leader = next(host for host in rest if host.core.accepts)
    assert not lonely.disk.hard.fresh
    assert lonely.disk.hard.generation < leader.disk.hard.generation
    cluster.write(leader, "k", 1)
    # It has its directory, and in that nothing of the generation that lives: nobody else's may be lost now.
    assert cluster.invariants.without_state() == {lonely.addr}
    cluster.filters.clear()
    cluster.restart(lonely)
    cluster.settle()
    assert not cluster.invariants.without_state()
    assert cluster.value(lonely, "k") == 1
