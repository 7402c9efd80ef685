"""What a member claims and no honest one can: it changes nothing, whoever says it."""

from __future__ import annotations

import pytest

from django_hacache.consensus.credible import GENERATION_LEAP, INDEX_MAX, TERM_LEAP
from django_hacache.consensus.messages import (
    AckLevel,
    Append,
    AppendAck,
    Entry,
    ForwardReply,
    Generation,
    LeaderAck,
    LeaderAckAck,
    LeaderDead,
    LeaderReq,
    LeaderReqAck,
    LeaderSwitch,
    Ping,
    Pong,
)
from django_hacache.consensus.transfer import Part
from tests.consensus.verbs import progress_of

LAST = (1 << 64) - 1
FAR = 1 << 40  # milliseconds

FORGED = {
    "a last term in a request for votes": LeaderReq(0, LAST, 0, 0),
    "a last term in a pre-vote": LeaderReq(0, LAST, 0, 0, pre_vote=True),
    "a last term of a hand-over": LeaderReq(0, LAST, 10, 1, handover=True),
    "a last term in a refused vote": LeaderReqAck(0, LAST, granted=False),
    "a leader of the last term": LeaderAck(0, LAST),
    "a heartbeat of the last term": Ping(LAST, 1, 0, 0),
    "a pong of the last term": Pong(LAST, 1, 0, 0, 0),
    "entries of the last term": Append(LAST, 0, 0, 0),
    "a refusal of the last term": AppendAck(LAST, False, 0, 0, 0),
    "a confirmation of the last term": LeaderAckAck(LAST),
    "a death in the last term": LeaderDead("n1", 0, LAST),
    "a hand-over in the last term": LeaderSwitch("n1", 0, LAST),
    "a log without an end": LeaderReq(0, 1, LAST, 1),
    "a log of a later term than its candidate": LeaderReq(0, 2, 10, 3),
    "a commit index without an end": Ping(1, 1, 0, LAST),
    "a place without an end": Append(1, LAST, 1, 0),
    "a match without an end": AppendAck(1, True, LAST, 0, 0),
    "an answer without an end": ForwardReply("r", LAST, 1),
    "a hole in the log": Append(1, 1, 1, 0, (Entry(5, 1),), (0,)),
    "an entry from a later term": Append(1, 1, 1, 0, (Entry(2, 2),), (0,)),
    "an entry before a later term": Append(1, 5, 2, 0),
    "an entry before the first one": Append(1, 0, 1, 0),
    "terms that go back": Append(2, 1, 1, 0, (Entry(2, 2), Entry(3, 1)), (0, 0)),
    "a place that no version can name": Append(1, 1 << 44, 1, 0, anew=True),
    "a last generation": LeaderReq(0, 1, 0, 0, forming=Generation(LAST, "g")),
    "a long generation": LeaderReq(0, 1, 0, 0, forming=Generation(1, "g" * 1000)),
}


@pytest.fixture
def cluster(stage):
    cluster = stage()
    cluster.settle()
    for host in cluster.hosts.values():
        host.forged = True
    return cluster


def send(cluster, victim, source, message, **signature):
    victim.receive(source.core.sender()._replace(**signature), message)


@pytest.mark.parametrize("message", FORGED.values(), ids=FORGED)
def test_it_is_refused_by_leader_and_followers_and_the_cluster_goes_on(cluster, message):
    leader = cluster.leader()
    before = [(host.core.hard, host.core.role, host.core.leader) for host in cluster.hosts.values()]
    source, *_ = cluster.followers()
    for victim in cluster.hosts.values():
        if victim is not source:
            send(cluster, victim, source, message)
    assert [(host.core.hard, host.core.role, host.core.leader) for host in cluster.hosts.values()] == before
    cluster.run(300)
    cluster.write(leader, "k", 1, AckLevel.ALL)
    assert cluster.leader() is leader


@pytest.mark.parametrize(
    "signature",
    [
        {"generation": Generation(LAST, "g")},
        {"generation": Generation(1, "g" * 1000)},
        {"incarnation": "i" * 1000, "fresh": True},
    ],
    ids=["last generation", "long generation", "long incarnation"],
)
def test_no_generation_is_the_last_one_and_no_name_is_long(cluster, signature):
    leader = cluster.leader()
    source, *_ = cluster.followers()
    send(cluster, leader, source, Ping(2, 1, 0, 10), **signature)
    assert leader.core.state.peers[source.addr].sender == source.core.sender()
    assert leader.core.bootstrap.latest_number < LAST


def test_the_bounds_leave_room_for_what_may_be(cluster):
    source, victim = cluster.followers()
    number = victim.core.bootstrap.latest_number + GENERATION_LEAP
    for message in (
        LeaderReq(0, victim.core.hard.term + TERM_LEAP, INDEX_MAX, 1, pre_vote=True),
        LeaderReq(0, 1, 0, 0, forming=Generation(number, "g" * 16)),
        Append(1, 1, 1, 0, (Entry(2, 1), Entry(3, 1)), (0, 0)),
    ):
        assert victim.core.membership.is_credible(source.core.sender(), message, victim.clock())


def test_the_shell_learns_who_claimed_what(cluster):
    source, victim = cluster.followers()
    victim.core.receive(source.core.sender(), Ping(LAST, 1, 0, 0), victim.clock())
    ((peer, why),) = victim.core.take_ready().refused
    assert peer == source.addr
    assert str(LAST) in why


@pytest.mark.parametrize(("term", "index"), [(LAST, 1), (1, LAST)])
def test_no_part_of_a_replica_is_taken_of_what_cannot_be(cluster, term, index):
    victim, source = cluster.followers()[0], cluster.leader()
    before = victim.core.hard
    part = Part(b"", b"", index)
    assert not victim.core.part_arrives(source.core.sender(), term, part, victim.clock())
    assert victim.core.hard == before


@pytest.mark.parametrize("ahead", [0, 1, FAR])
def test_no_heartbeat_grants_more_than_a_lease_from_now(cluster, ahead):
    leader = cluster.leader()
    victim, *_ = cluster.followers()
    now = victim.clock()
    send(cluster, victim, leader, Ping(1, LAST, now, 0, echo_ms=now + ahead, lease_ms=FAR))
    assert victim.lease_until <= now + victim.core.config.lease_ms


def test_no_answer_to_a_heartbeat_of_tomorrow_keeps_a_leader_that_nobody_hears(cluster):
    leader = cluster.leader()
    for source in cluster.followers():
        send(cluster, leader, source, Pong(1, 1, leader.clock() + FAR, 1, 0))
    assert leader.core.heartbeats.lease_left_ms(leader.clock()) <= leader.core.config.lease_ms
    cluster.cut([leader], cluster.followers_of(leader))
    assert cluster.run_while(lambda: leader.core.role.value == "leader", at_most=5000)


def test_a_write_at_all_waits_for_a_follower_that_claims_to_have_applied_what_is_not_there_yet(cluster):
    leader = cluster.leader()
    source, *_ = cluster.followers()
    send(cluster, leader, source, Pong(1, 1, leader.clock(), 1, INDEX_MAX))
    assert progress_of(leader, source).applied_index <= leader.core.state.log.last_index


def test_a_term_has_one_leader_whoever_else_says_that_it_leads_it(cluster):
    leader = cluster.leader()
    source, victim = cluster.followers()
    term, index = leader.core.hard.term, leader.core.state.log.last_index
    for claim in (
        LeaderAck(0, term),
        Ping(term, 9, 1, 0),
        Append(term, index, term, index, (Entry(index + 1, term),), (0,)),
    ):
        for host in (leader, victim):
            send(cluster, host, source, claim)
    assert cluster.leader() is leader
    assert victim.core.leader == leader.addr
    cluster.write(leader, "k", 1, AckLevel.ALL)


def test_what_is_committed_is_taken_back_by_nobody(cluster):
    leader = cluster.leader()
    cluster.write(leader, "k", 1, AckLevel.ALL)
    victim = cluster.followers()[0]
    cluster.cut([leader], cluster.followers_of(leader))
    term, commit = leader.core.hard.term, victim.core.state.commit
    assert commit > 1
    before = victim.core.state.log.term_at(commit)
    send(
        cluster,
        victim,
        leader,
        Append(term + 1, commit - 1, before, commit, (Entry(commit, term + 1),), (0,)),
    )
    assert victim.core.state.log.term_at(commit) == before
    assert victim.core.state.commit == commit
