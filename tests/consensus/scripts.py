"""The known traps as scripts: schedules that random lives hardly ever find. Each ends with every invariant asserted."""

from __future__ import annotations

from django_hacache.consensus.messages import AckLevel, Append, LeaderReq, LeaderReqAck
from django_hacache.consensus.state import Role
from tests.consensus.verbs import force_election, hold_back, raise_generations


def a_voter_restarts_between_two_candidates(cluster) -> None:
    """Two candidates of one term ask the same voters, which crash after the first one. Five nodes."""
    leader = cluster.settle()
    first, second, *voters = cluster.followers()
    leader.crash()
    for host in (first, second, *voters):
        hold_back(host)
    cluster.run(cluster.plan.election_timeout)
    held = []

    def hold(source, target, message):
        if isinstance(message, LeaderReq) and source == second.addr:
            held.append((target, second.core.sender(), message))
            return False
        # Its entry would make the voters' logs longer than the second candidate's, and that one would give up.
        return not (source == first.addr and (target == second.addr or isinstance(message, Append)))

    cluster.filters.append(hold)
    for host in (first, second):
        force_election(host)
    cluster.run(30)
    assert first.core.role.value == "leader"
    cluster.cut([first], [second, *voters])
    for voter in voters:
        voter.crash()
        cluster.restart(voter)
        hold_back(voter)
    # Until then they act as if they had just heard a leader.
    cluster.run(cluster.plan.election_timeout)
    for target, sender, message in held:
        if cluster.hosts[target] in voters:
            cluster.hosts[target].receive(sender, message)
    cluster.run(100)


def an_old_vote_comes_late(cluster) -> None:
    """A candidate is frozen with the votes of one term on their way, and asks again in a later one. Five nodes."""
    leader = cluster.settle()
    candidate, *voters = cluster.followers()
    leader.crash()
    for host in (candidate, *voters):
        hold_back(host)
    cluster.run(cluster.plan.election_timeout)
    late = []

    def hold(source, target, message):
        if isinstance(message, LeaderReqAck) and target == candidate.addr and message.granted:
            late.append((cluster.hosts[source].core.sender(), message))
            return False
        return True

    cluster.filters.append(hold)
    force_election(candidate)
    cluster.run(20)
    cluster.filters[:] = [lambda source, target, message: not isinstance(message, LeaderReq)]
    force_election(candidate)
    # The voters elect another one in the term in which the candidate asks now.
    other = voters[0]
    cluster.filters.clear()
    cluster.cut([candidate], voters)
    force_election(other)
    cluster.run(30)
    assert other.core.role.value == "leader"
    assert other.core.hard.term == candidate.core.hard.term
    for sender, message in late:
        candidate.receive(sender, message)
    cluster.run(50)


def a_candidate_comes_back_with_an_old_term(cluster) -> None:
    """It froze while its requests for votes were on their way; the others have a leader of a later term. Five nodes."""
    old = cluster.settle()
    candidate, *rest = cluster.followers()
    cluster.write(old, "k", 1, AckLevel.ALL)
    held = []

    def hold(source, target, message):
        asks = isinstance(message, LeaderReq) and not message.pre_vote and source == candidate.addr
        if asks:
            held.append((target, candidate.core.sender(), message))
        return not asks

    cluster.filters.append(hold)
    old.crash()
    assert cluster.run_while(lambda: not any(host.core.accepts for host in rest) and not held, at_most=15_000)
    if not held:  # another one was faster: it asks all the same
        force_election(candidate)
    candidate.pause()
    # The others have another one for this term, and for the next.
    for _ in range(2):
        assert cluster.run_while(lambda: not any(host.core.accepts for host in rest), at_most=15_000)
        new = next(host for host in rest if host.core.accepts)
        cluster.write(new, "k", 2)
        new.hand_over()
        cluster.run(500)
    new = cluster.leader()
    term = new.core.hard.term
    assert all(message.term < term for _, _, message in held)
    for target, sender, message in held:
        if cluster.hosts[target].core is not None:
            cluster.hosts[target].receive(sender, message)
    candidate.resume()
    cluster.run(3 * cluster.plan.election_timeout)
    assert cluster.leader() is new
    assert new.core.hard.term == term
    assert cluster.value(candidate, "k") == 2


def a_leader_is_frozen_across_an_election(cluster) -> None:
    """It wakes with a write of its own on hand, and its workers go on reading all the time."""
    old = cluster.settle()
    cluster.write(old, "k", 1, AckLevel.ALL)
    rest = cluster.followers()
    late = cluster.put(old, "k", 2, AckLevel.QUORUM, timeout=1500)
    old.pause()
    assert cluster.run_while(lambda: not any(host.core.accepts for host in rest), at_most=15_000)
    new = next(host for host in rest if host.core.accepts)
    cluster.write(new, "k", 3, AckLevel.ALL)
    assert not old.may_read()
    old.resume()
    for _ in range(300):
        cluster.run(10)
        if old.may_read():
            cluster.invariants.read(old)
            assert cluster.value(old, "k") != 1
    assert late.ended is not None
    cluster.settle()


def a_deposed_leader_votes_for_the_next_one(cluster) -> None:
    """It learns of a later term first and is asked for its vote then; its workers go on reading all the time."""
    old = cluster.settle()
    candidate, _ = rest = cluster.followers()
    late = []

    def hold(source, target, message):
        if isinstance(message, LeaderReq) and target == old.addr:
            late.append((cluster.hosts[source].core.sender(), message))
            return False
        return True

    cluster.filters.append(hold)
    # Pre-votes that were on their way for a while let it ask.
    force_election(candidate)
    assert cluster.run_while(lambda: old.core.role is Role.LEADER, at_most=500)
    old.receive(*late[0])
    assert cluster.run_while(lambda: not candidate.core.accepts, at_most=100)
    cluster.cut([old], rest)
    for number in range(10):
        cluster.write(candidate, "k", number)


def a_leader_on_the_minority_side_goes_on(cluster) -> None:
    """With one follower that still hears it; the majority elects another leader and writes. Five nodes."""
    old = cluster.settle()
    beside, *rest = cluster.followers()
    cluster.write(old, "k", 1, AckLevel.ALL)
    cluster.cut([old, beside], rest)
    for step in range(1200):
        cluster.run(10)
        writing = next((host for host in rest if host.core.accepts), None)
        if writing is not None and step % 10 == 0:
            cluster.put(writing, "k", step, AckLevel.ALL if step % 20 else AckLevel.QUORUM)
        for host in (old, beside):
            if host.may_read():
                cluster.invariants.read(host)
    assert writing is not None


def an_entry_of_an_earlier_term_is_on_a_majority(cluster) -> None:
    """Raft thesis, figure 3.7. Five nodes, Appends of one entry."""
    first = cluster.settle()
    second, third, fourth, fifth = cluster.followers()
    # The entry reaches one follower.
    cluster.cut([first, second], [third, fourth, fifth])
    cluster.put(first, "k", 1, AckLevel.LEADER)
    index = first.core.state.log.last_index
    cluster.run(50)
    assert second.core.state.log.last_index == index
    first.crash()
    second.crash()
    # Another one leads, and its entry at that place stays with it alone.
    cluster.network.heal()
    cluster.filters.append(
        lambda source, target, message: not (isinstance(message, Append) and message.entries)
    )
    for host in (third, fourth):
        hold_back(host)
    rest = (third, fourth, fifth)
    assert cluster.run_while(lambda: fifth.core.role.value != "leader", at_most=15_000)
    fifth.crash()
    assert [host.core.state.log.last_index for host in rest[:2]] == [index - 1] * 2
    # The first leader comes back and brings its entry to a majority, but nothing of its new term.
    cluster.filters[:] = [
        lambda source, target, message: (
            not (isinstance(message, Append) and any(entry.index > index for entry in message.entries))
        )
    ]
    cluster.restart(first)
    cluster.restart(second)
    for host in (second, third, fourth):
        hold_back(host)
    assert cluster.run_while(lambda: first.core.role.value != "leader", at_most=15_000)
    cluster.cut([first], [fourth])
    assert cluster.run_while(lambda: third.core.state.log.last_index < index, at_most=3000)
    cluster.run(200)
    first.crash()
    second.crash()
    # The other entry is of a later term: its owner may lead, and overwrites the first leader's.
    cluster.filters.clear()
    cluster.network.heal()
    for host in (third, fourth):
        hold_back(host)
    cluster.restart(fifth)
    assert cluster.run_while(lambda: not fifth.core.accepts, at_most=15_000)


def clocks_run_apart(cluster) -> None:
    """A leader that is cut off counts its lease on a slow clock; the others elect and wait on fast ones."""
    leader = cluster.settle()
    rest = cluster.followers()
    for host, rate in [(leader, 0.84), *((host, 1.16) for host in rest)]:
        host.clock_offset = host.clock() - int(cluster.now * rate)
        host.clock_rate = rate
    cluster.run(500)
    cluster.write(leader, "k", 1, AckLevel.ALL)
    cluster.cut([leader], rest)
    for host in rest:
        cluster.connection_refused(host.addr, leader.addr)
    for number in range(400):
        cluster.run(10)
        writing = next((host for host in rest if host.core.accepts), None)
        if writing is not None and number % 5 == 0:
            cluster.put(writing, "k", number, AckLevel.ALL)
        if leader.may_read():
            cluster.invariants.read(leader)


def a_leader_grants_while_its_own_lease_runs_out(cluster) -> None:
    """One follower still answers it; the majority takes it for dead, elects another leader and writes. Five nodes.

    What it may grant until its own lease ends must end with that: whoever leads next waits no longer.
    """
    leader = cluster.settle()
    beside, *rest = cluster.followers()
    cluster.write(leader, "k", 1, AckLevel.ALL)
    cluster.cut([leader, beside], rest)
    for host in rest:
        cluster.connection_refused(host.addr, leader.addr)
    for step in range(300):
        cluster.run(10)
        writing = next((host for host in rest if host.core.accepts), None)
        if writing is not None:
            cluster.put(writing, "k", 2 + step, AckLevel.ALL)
        if beside.may_read():
            cluster.invariants.read(beside)
    assert writing is not None


def a_snapshot_is_overtaken_by_the_log(cluster) -> None:
    """The last part of a snapshot comes after the log has gone on, and after the leader that sent it is gone."""
    leader = cluster.settle()
    late, other = cluster.followers()
    late.crash()
    for number in range(50):
        cluster.write(leader, f"k{number % 7}", number)
    held = []
    take = late.take_part

    def hold(transfer, sender, number, carried):
        if carried is not None and carried.part.last and not held:
            held.append((transfer, sender, number, carried))
        else:
            take(transfer, sender, number, carried)

    late.take_part = hold
    cluster.restart(late)
    assert cluster.run_while(lambda: not held, at_most=5000)
    for number in range(50, 120):
        cluster.write(leader, f"k{number % 7}", number)
    leader.crash()
    cluster.restart(leader)
    cluster.run(3000)
    take(*held[0])
    cluster.settle()
    cluster.run(500)
    assert cluster.invariants.equal(list(cluster.hosts.values()))
    assert other.may_read()


def a_generation_that_nobody_joined_speaks_late(cluster) -> None:
    """Its leader entered it alone and crashed; its number is the greater one. Of the two in the next, one restarts."""
    lonely, next_candidate, voter = cluster.hosts.values()
    raise_generations(lonely)
    late = []

    def hold(source, target, message):
        if source == lonely.addr and lonely.core.role is Role.LEADER:
            late.append((target, lonely.core.sender(), message))
            return False
        # So that the next candidate knows nothing of the number that the voter has voted for.
        hidden = (source, target) == (lonely.addr, next_candidate.addr) or source == voter.addr
        return not (hidden and isinstance(message, LeaderReq))

    cluster.filters.append(hold)
    assert cluster.run_while(lambda: not late, at_most=15_000)
    lonely.crash()
    assert cluster.run_while(lambda: not next_candidate.core.accepts, at_most=15_000)
    assert lonely.disk.hard.generation > next_candidate.core.hard.generation
    cluster.write(next_candidate, "k", 1)
    next_candidate.crash()
    cluster.connection_refused(voter.addr, next_candidate.addr)
    for target, sender, message in late:
        if target == voter.addr:
            voter.receive(sender, message)
    cluster.filters.clear()
    for host in (lonely, next_candidate):
        cluster.restart(host)
    cluster.settle()
    assert [cluster.value(host, "k") for host in cluster.hosts.values()] == [1, 1, 1]


def a_new_leader_does_not_know_what_is_committed(cluster) -> None:
    """It has the entry that the dead leader acknowledged, not the news; its own entries reach nobody for a while."""
    leader = cluster.settle()
    new, late = cluster.followers()
    cluster.filters.append(
        lambda source, target, message: not (isinstance(message, Append) and target == late.addr)
    )
    cluster.write(leader, "k", 1)
    cluster.filters.append(
        lambda source, target, message: not (isinstance(message, Append) and not message.entries)
    )
    cluster.write(leader, "k", 2)
    leader.crash()
    for host in (new, late):
        cluster.connection_refused(host.addr, leader.addr)
    assert cluster.run_while(lambda: new.core.role is not Role.LEADER, at_most=5000)
    for _ in range(30):
        cluster.run(100)
        for host in (new, late):
            if host.may_read():
                cluster.invariants.read(host)
    cluster.filters.clear()
    cluster.run(2000)
    assert cluster.value(late, "k") == 2
