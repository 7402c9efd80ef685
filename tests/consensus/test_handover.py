"""A leader that hands over beside a host that does not answer."""

from __future__ import annotations

import pytest

from django_hacache.consensus.messages import AppendAck, LeaderReq, LeaderSwitch


def test_a_frozen_host_is_not_the_one_that_takes_over(stage):
    cluster = stage(5)
    leader = cluster.settle()
    cluster.run(500)
    # Nothing was written since: its log is as long as everybody's.
    frozen = max(cluster.followers(), key=lambda host: host.addr)
    frozen.pause()
    cluster.run(1000)
    assert leader.hand_over()
    cluster.run(300)
    assert not leader.core.accepts
    assert any(host.core.accepts for host in cluster.hosts.values())


@pytest.mark.parametrize("lost", [1, 3])
def test_a_successor_is_told_again_where_the_news_gets_lost(stage, lost):
    """Nobody leads meanwhile: it is told with each heartbeat, not once an election timeout."""
    cluster = stage()
    leader = cluster.settle()
    told = []

    def lose(source, target, message):
        if isinstance(message, LeaderSwitch) and message.vote_host == target:
            told.append(message)
            return len(told) > lost
        return True

    cluster.filters.append(lose)
    term = leader.core.hard.term
    assert leader.hand_over()
    operation = cluster.put(cluster.hosts["n3"] if leader.addr != "n3" else cluster.hosts["n2"], "k", 1)
    cluster.run_while(lambda: operation.ended is None, at_most=(lost + 2) * cluster.plan.heartbeat)
    assert operation.ended is not None
    assert operation.ended.refusal is None
    assert cluster.leader().core.hard.term == term + 1
    assert len({message.vote_host for message in told}) == 1


def test_what_comes_before_a_new_leader_accepts_is_ordered_the_moment_it_does(stage):
    """It is not sent back, to come again a heartbeat later."""
    cluster = stage()
    old = cluster.settle()
    term = old.core.hard.term
    accepted = []

    def slowly(source, target, message):
        if not isinstance(message, AppendAck) or message.term == term:
            return True
        receiver = cluster.hosts[target]
        accepted.append(cluster.now)
        cluster.after(20, receiver.arrive, receiver.receive, cluster.hosts[source].core.sender(), message)
        return False

    cluster.filters.append(slowly)
    assert old.hand_over()
    operations = [cluster.put(host, "k", 1) for host in cluster.hosts.values()]
    assert cluster.run_while(lambda: not accepted, at_most=1000)
    assert cluster.run_while(
        lambda: any(each.ended is None for each in operations), at_most=cluster.plan.heartbeat
    )
    assert [each.ended.refusal for each in operations] == [None] * 3


def test_a_new_leader_does_not_wait_a_heartbeat_for_a_host_that_it_knew_as_it_was_before(stage):
    """Followers hear little of each other: one that lost its state since is another one to the new leader."""
    cluster = stage()
    old = cluster.settle()
    other, successor = sorted(cluster.followers(), key=lambda host: host.addr)  # it is the last of equals
    # What the successor hears of the other one is not from after its loss.
    cluster.filters.append(lambda source, target, _: (source, target) != (other.addr, successor.addr))
    other.crash(wipe=True)
    cluster.restart(other)
    cluster.settle()
    cluster.filters.clear()
    known = successor.core.state.peers[other.addr].sender.incarnation
    assert known != other.core.hard.incarnation
    term = old.core.hard.term
    # The majority is these two.
    cluster.filters.append(
        lambda source, _, message: not (source == old.addr and isinstance(message, AppendAck))
    )
    assert old.hand_over()
    operation = cluster.put(other, "k", 1)
    assert cluster.run_while(lambda: operation.ended is None, at_most=cluster.plan.heartbeat - 20)
    assert operation.ended.refusal is None
    assert successor.core.hard.term == term + 1
    assert successor.core.accepts


def test_changes_that_wait_for_a_handover_do_not_keep_the_processor_busy(stage):
    cluster = stage()
    leader = cluster.settle()
    rest = cluster.followers()
    cluster.cut([leader], rest)
    assert leader.hand_over()
    cluster.put(leader, "k", 1)
    ticks = []
    tick = leader.core.tick
    leader.core.tick = lambda now: (ticks.append(now), tick(now))
    cluster.run(500)
    assert len(ticks) < 50


def test_after_a_handover_that_failed_nobody_was_admitted_and_nothing_more_is_accepted(stage):
    """Its votes may come late; a voter that has lost its state since must not help to commit beside them."""
    cluster = stage(5)
    leader = cluster.settle()
    cluster.filters.append(lambda source, target, m: not (isinstance(m, LeaderReq) and m.handover))
    term = leader.core.hard.term
    assert leader.hand_over()
    cluster.run(5)
    (successor,) = [host for host in cluster.followers_of(leader) if host.core.hard.term > term]
    cluster.cut([successor], cluster.followers_of(successor))
    lost, *_ = [host for host in cluster.followers_of(leader) if host is not successor]
    lost.crash(wipe=True)
    cluster.run(100)
    cluster.restart(lost)

    def still() -> bool:
        assert not leader.core.accepts or leader.core.hard.term > term
        return leader.core.hard.term == term

    while still():
        assert lost.disk.hard.fresh
        cluster.run(20)
    cluster.network.heal()
    cluster.settle()
    assert not lost.disk.hard.fresh


@pytest.mark.parametrize("nodes", [3, 5])
def test_who_says_that_it_was_named_gets_no_vote_unless_the_leader_says_so(stage, nodes):
    cluster = stage(nodes)
    leader = cluster.settle()
    term = leader.core.hard.term
    liar = cluster.followers()[0]
    asked = LeaderReq(7, term + 1, liar.core.state.log.last_index, term, handover=True)
    for host in cluster.hosts.values():
        if host is not liar:
            host.receive(liar.core.sender(), asked)
    cluster.run(3000)
    assert cluster.leader() is leader
    assert {host.core.hard.term for host in cluster.hosts.values()} == {term}


def test_a_voter_that_is_asked_before_it_hears_whom_its_leader_named_votes_then(stage):
    cluster = stage(5)
    leader = cluster.settle()
    term = leader.core.hard.term

    def delay(source, target, message):
        if isinstance(message, LeaderSwitch) and message.vote_host != target:
            cluster.after(50, cluster.hosts[target].receive, cluster.hosts[source].core.sender(), message)
            return False
        return True

    cluster.filters.append(delay)
    assert leader.hand_over()
    began = cluster.now
    cluster.run_while(lambda: cluster.leader().core.hard.term == term, at_most=3000)
    assert cluster.leader() is not leader
    assert cluster.now - began <= 2 * cluster.plan.heartbeat
