"""Scripts of what counts no more: words of incarnations that are gone, of earlier terms, of leaders that gave up.

Each ends with every invariant asserted, and demands what no invariant says.
"""

from __future__ import annotations

from django_hacache.consensus.messages import AckLevel, Append, AppendAck, LeaderReq, Ping, Pong
from django_hacache.consensus.state import Role
from tests.consensus.verbs import (
    demand,
    demand_linearizable_reads,
    force_election,
    never_campaign,
    prefer,
    progress_of,
    raise_generations,
)


def a_vote_outlives_its_voter(cluster) -> None:
    """The voter loses its directory and joins the old leader again; its vote counts on, with a candidate far away.

    Five nodes. The candidate needs one more vote, and asks for it when an entry is acknowledged that it lacks.
    """
    leader = cluster.settle()
    candidate, voter, late, other = cluster.followers()
    cluster.cut([leader], [candidate, voter])
    never_campaign(candidate, voter, late)
    cluster.run(cluster.plan.election_timeout + 50)
    held = {}

    def hold(source, target, message):
        asks = isinstance(message, LeaderReq) and source == candidate.addr and target != voter.addr
        if asks:
            held[target] = (candidate.core.sender(), message)
        return not asks

    cluster.filters.append(hold)
    force_election(candidate)
    cluster.run(20)
    assert voter.addr in candidate.core.election.votes
    never_campaign(candidate)
    voter.crash(wipe=True)
    cluster.network.heal()
    cluster.cut([candidate], [leader, voter, late, other])
    cluster.restart(voter)
    assert cluster.run_while(lambda: voter.disk.hard.fresh, at_most=3000)
    assert leader.core.accepts
    cluster.filters.append(lambda source, target, m: not (isinstance(m, Append) and target == late.addr))
    cluster.write(leader, "k", 1)
    cluster.cut([leader], [late])
    cluster.run(cluster.plan.election_timeout + 50)
    assert candidate.core.role is Role.CANDIDATE
    cluster.network.heal()
    late.receive(*held[late.addr])
    cluster.run(20)
    cluster.filters.clear()
    cluster.settle()


def an_acknowledgement_outlives_its_host(cluster) -> None:
    """It comes when the leader already deals with the next incarnation of that host, which lacks the entry."""
    leader = cluster.settle()
    lost, other = cluster.followers()
    cluster.run(500)
    late = []
    index = leader.core.state.log.last_index + 1

    def hold(source, target, m):
        if isinstance(m, AppendAck) and source == lost.addr and m.match_index >= index and not late:
            late.append((lost.core.sender(), m))
            return False
        has_it = isinstance(m, Append) and any(entry.index >= index for entry in m.entries)
        return not (has_it and (target == other.addr or late))

    cluster.filters.append(hold)
    operation = cluster.put(leader, "k", 1, timeout=60_000)
    assert cluster.run_while(lambda: not late, at_most=500)
    lost.crash(wipe=True)
    cluster.restart(lost)
    cluster.run(500)
    assert progress_of(leader, lost).incarnation == lost.disk.hard.incarnation
    leader.receive(*late[0])
    cluster.run(20)
    demand(operation.ended is None, "an acknowledgement counts although whoever gave it is gone")
    demand(
        progress_of(leader, lost).incarnation == lost.disk.hard.incarnation,
        "a late message makes the leader deal with an incarnation that is gone",
    )
    cluster.filters.clear()
    cluster.settle()
    cluster.run(1000)
    assert [cluster.value(host, "k") for host in cluster.hosts.values()] == [1, 1, 1]


def acknowledgements_of_an_earlier_term_come_late(cluster) -> None:
    """A leader leads again, and what a follower had acknowledged of its first log was cut off since. Five nodes."""
    leader = cluster.settle()
    follower, *rest = cluster.followers()
    late = []

    def hold(source, target, m):
        if source == follower.addr and target == leader.addr and isinstance(m, AppendAck):
            late.append((follower.core.sender(), m))
            return False
        return True

    cluster.cut([leader, follower], rest)
    cluster.filters.append(hold)
    for number in range(5):
        cluster.put(leader, f"first{number}", number, AckLevel.LEADER)
        cluster.run(5)
    cluster.run(600)
    assert follower.core.state.log.last_index == leader.core.state.log.last_index
    assert cluster.run_while(lambda: not any(host.core.accepts for host in rest), at_most=10_000)
    cluster.filters.clear()
    cluster.network.heal()
    cluster.settle()
    never_campaign(follower, *rest)
    # The first leader leads again, in a later term.
    while cluster.leader() is not leader:
        second = cluster.leader()
        prefer(second, leader)
        assert second.hand_over()
        cluster.run(300)
    cluster.settle()
    one, *others = rest
    cluster.cut([leader, one], [follower, *others])
    for number in range(5):
        cluster.put(leader, f"second{number}", number, AckLevel.LEADER)
        cluster.run(5)
    cluster.run(50)
    for sender, message in late:
        leader.receive(sender, message)
    cluster.run(50)
    cluster.network.heal()
    cluster.settle()


def a_leader_has_handed_over(cluster) -> None:
    """It hears nothing of its successor's term, and its workers read on."""
    old = cluster.settle()
    cluster.write(old, "k", 1, AckLevel.ALL)
    rest, term = cluster.followers(), old.core.hard.term
    cluster.filters.append(
        lambda _source, target, message: target != old.addr or getattr(message, "term", 0) <= term
    )
    assert old.hand_over()
    for _ in range(50):
        cluster.run(2)
        if any(host.core.accepts for host in rest):
            break
    new = next(host for host in rest if host.core.accepts)
    cluster.cut([old], rest)
    cluster.write(new, "k", 2)
    demand(not old.may_read(), "a leader that handed over reads an older value than one that is acknowledged")
    cluster.filters.clear()
    cluster.network.heal()
    cluster.settle()


def a_change_at_once_meets_a_fresh_host(cluster) -> None:
    """Nobody else is there to take it: one that has lost its state once may be about to lose it again."""
    leader = cluster.settle()
    fresh, other = cluster.followers()
    fresh.crash(wipe=True)
    other.crash()
    cluster.restart(fresh)
    cluster.run(500)
    operation = cluster.put(leader, "k", 1, AckLevel.ONCE, timeout=1000)
    cluster.run(500)
    assert fresh.core.state.log.last_index == leader.core.state.log.last_index
    demand(operation.ended is None, "a fresh host counts as the second one that has a change")
    cluster.restart(other)
    cluster.settle()


def a_candidate_asks_beside_a_live_leader(cluster) -> None:
    """It had its pre-votes while the others did not hear the leader; they hear it again when its request comes."""
    leader = cluster.settle()
    hears, candidate = cluster.followers()
    cluster.write(leader, "k", 1, AckLevel.ALL)
    never_campaign(candidate)
    cluster.cut([leader], [candidate])
    cluster.run(cluster.plan.election_timeout + 50)
    force_election(candidate)
    demand_linearizable_reads(cluster, leader, candidate)
    assert hears.core.leader == leader.addr


def a_voter_that_restarted_is_asked_at_once(cluster) -> None:
    """It has answered the leader a moment ago, and knows nothing of that; the candidate does not hear the leader."""
    leader = cluster.settle()
    voter, candidate = cluster.followers()
    cluster.write(leader, "k", 1, AckLevel.ALL)
    never_campaign(candidate)
    cluster.cut([leader], [candidate])
    cluster.run(cluster.plan.election_timeout + 50)
    voter.crash()
    voter.start()
    force_election(candidate, pre_vote=True)
    demand_linearizable_reads(cluster, leader, candidate)
    cluster.network.heal()
    cluster.settle()


def a_generation_that_is_gone_speaks_late(cluster) -> None:
    """Its number is greater than that of the one that lives: those who knew it have all lost their state since."""
    for host in cluster.hosts.values():
        raise_generations(host)
    said = {}

    def keep(source, target, m):
        if isinstance(m, Ping) and m.commit_index > 0 and target not in said:
            said[target] = (cluster.hosts[source].core.sender(), m)
        return True

    cluster.filters.append(keep)
    gone = cluster.settle().disk.hard.generation
    cluster.filters.clear()
    cluster.invariants.majority_lost = True
    for host in cluster.hosts.values():
        host.crash(wipe=True)
    cluster.start_all()
    leader = cluster.settle()
    cluster.invariants.majority_lost = False
    lives = leader.disk.hard.generation
    assert lives < gone
    cluster.write(leader, "k", 1)
    for host in cluster.followers():
        if host.addr in said:
            host.receive(*said[host.addr])
    cluster.run(5000)
    cluster.settle()
    assert [cluster.value(host, "k") for host in cluster.hosts.values()] == [1, 1, 1]


def a_majority_is_lost_beside_a_leader_that_reads(cluster) -> None:
    """It is cut off, and does not know. The others have lost their directories, and would write at once."""
    old = cluster.settle()
    cluster.write(old, "k", 1, AckLevel.ALL)
    rest = cluster.followers()
    cluster.invariants.majority_lost = True
    cluster.cut([old], rest)
    for host in rest:
        host.crash(wipe=True)
    for host in rest:
        cluster.restart(host)
    operation = None
    for _ in range(1500):
        cluster.run(5)
        writing = next((host for host in rest if host.core.accepts), None)
        if writing is not None and operation is None:
            operation = cluster.put(writing, "k", 2)
        if operation is not None and operation.ended is not None:
            demand(not old.may_read(), "a generation begins while a lease of the one before holds")
            break
    assert operation is not None and operation.ended is not None


def a_leader_is_lost_while_a_follower_has_half_a_replica(cluster) -> None:
    """Its log is as long as anybody's, and what is evaluated on its replica would be wrong."""
    leader = cluster.settle()
    half, other = cluster.followers()
    half.crash()
    for number in range(60):
        cluster.write(leader, f"k{number % 7}", number)
    half.take_part = lambda *part: None
    cluster.restart(half)
    assert cluster.run_while(lambda: half.disk.hard.installing is None, at_most=3000)
    cluster.run(500)
    cluster.filters.append(lambda source, target, m: not (isinstance(m, LeaderReq) and source == other.addr))
    leader.crash()
    cluster.connection_refused(half.addr, leader.addr)
    for _ in range(100):
        cluster.run(50)
        demand(half.core.role is Role.FOLLOWER, "a node asks for votes with half a replica")
    # It votes all the same: the other one has what it has, and all of it.
    cluster.filters.clear()
    assert cluster.run_while(lambda: other.core.role is not Role.LEADER, at_most=5000)
    del half.take_part
    cluster.restart(leader)
    cluster.settle()


def a_refusal_of_a_level_follower_comes_late(cluster) -> None:
    """It says that the follower's log ends where the leader's does not reach any more."""
    leader = cluster.settle()
    follower, _ = cluster.followers()
    late = []

    def keep(source, target, m):
        if isinstance(m, AppendAck) and source == follower.addr and not m.success:
            late.append((follower.core.sender(), m))
        return True

    cluster.filters.append(keep)
    follower.crash()
    for number in range(3):
        cluster.write(leader, f"k{number % 7}", number)
    leader.hand_over()
    cluster.run(500)
    leader = cluster.leader()
    cluster.write(leader, "k", 1)
    cluster.restart(follower)
    cluster.settle()
    assert late
    assert cluster.leader() is leader
    for number in range(60):
        cluster.write(leader, f"k{number % 7}", number)
    assert leader.core.state.log.base_index > late[-1][1].match_index
    transfers = cluster.transfers
    for sender, message in late:
        for _ in range(3):
            cluster.put(leader, "k", 2)
            leader.receive(sender, message)
            cluster.run(1)
    cluster.run(1000)
    demand(cluster.transfers == transfers, "a late refusal makes a follower that is level begin anew")
    assert follower.disk.hard.installing is None


def a_follower_begins_anew_before_it_is_heard_that_it_was_whole(cluster) -> None:
    """Its word that it has all of the first replica comes when it has nothing yet of the second."""
    leader = cluster.settle()
    follower, _ = cluster.followers()
    late, take_word = [], leader.part_answered

    def hold(transfer, sender, number, installing, refused):
        if installing is None:
            late.append((transfer, sender, number, installing, refused))
        else:
            take_word(transfer, sender, number, installing, refused)

    follower.crash()
    for number in range(60):
        cluster.write(leader, f"k{number % 7}", number)
    leader.part_answered = hold
    cluster.restart(follower)
    assert cluster.run_while(lambda: not late, at_most=3000)
    assert follower.disk.hard.installing is None
    follower.pause()
    for number in range(60):
        cluster.put(leader, f"k{number % 7}", number)
        cluster.run(3)
    follower.take_part = lambda *part: None
    follower.resume()
    assert cluster.run_while(lambda: follower.disk.hard.installing is None, at_most=2000)
    progress = progress_of(leader, follower)
    assert progress.installing
    for word in late:
        take_word(*word)
    cluster.run(1)
    demand(
        not progress.holds(), "a follower counts as one that has what it acknowledges, and has half a replica"
    )
    leader.part_answered = take_word
    del follower.take_part
    cluster.settle()
    assert cluster.run_while(lambda: follower.disk.hard.installing is not None, at_most=5000)


def a_host_that_lost_half_a_replica_is_asked_how_far_it_is(cluster) -> None:
    """It lacks nothing, for all it knows: it has nothing. What it acknowledged before must not count by that."""
    leader = cluster.settle()
    follower, other = cluster.followers()
    questions, take_word = [], leader.part_answered

    def hold(transfer, sender, number, installing, refused):
        questions.append((transfer, number))

    follower.crash()
    for number in range(60):
        cluster.write(leader, f"k{number % 7}", number)
    leader.part_answered = hold
    cluster.restart(follower)
    assert cluster.run_while(lambda: not questions, at_most=3000)
    cluster.cut([other], [leader, follower])
    progress = progress_of(leader, follower)
    for number in range(3):
        cluster.put(leader, f"k{number}", number)
    assert cluster.run_while(lambda: progress.match_index < leader.core.state.log.last_index, at_most=300)
    assert progress.installing
    follower.crash(wipe=True)
    # Its answer comes before it has answered a heartbeat: until then the leader deals with the one that is gone.
    cluster.filters.append(lambda source, _, m: source != follower.addr or not isinstance(m, Pong))
    cluster.restart(follower)
    assert cluster.run_while(lambda: follower.core is None, at_most=300)
    for transfer, number in questions:
        take_word(transfer, follower.core.sender(), number, follower.core.hard.installing, False)
    cluster.run(20)
    demand(not progress.holds(), "what a host acknowledged counts, and it has lost it")
    cluster.filters.clear()
    cluster.network.heal()
    leader.part_answered = take_word
    cluster.settle()
