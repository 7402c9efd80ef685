"""Scripts of replicas on their way: the log goes on beside them, and what comes late changes nothing."""

from __future__ import annotations

from django_hacache.consensus.messages import AckLevel, Append, LeaderReq, Ping, Refusal, Since
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


def sends_parts(cluster, late):
    """The places after which parts arrive at a host from now on, as a list that grows."""
    places, take = [], late.take_part

    def noting(transfer, sender, number, carried):
        if carried is not None:
            places.append(carried.part.after)
        take(transfer, sender, number, carried)

    late.take_part = noting
    return places


def last_part_held(cluster, late):
    """Let time pass until the last part of a replica has come to a host; returns what lets the host have it."""
    take, held = late.take_part, []

    def hold(transfer, sender, number, carried):
        if carried is not None and carried.part.last:
            held.append((transfer, sender, number, carried))
        else:
            take(transfer, sender, number, carried)

    def deliver():
        late.take_part = take
        take(*held[0])

    late.take_part = hold
    assert cluster.run_while(lambda: not held, at_most=10_000)
    return deliver


def beginning_held(cluster, leader):
    """A list that gets the first message to begin anew, and who sent it, in place of the host it was meant for."""
    held = []

    def hold(_source, _target, message):
        if isinstance(message, Append) and message.anew and not held:
            held.append((leader.core.sender(), message))
            return False
        return True

    cluster.filters.append(hold)
    return held


def keep_entries_from(cluster, host):
    """Nobody sends that host what is new in the log."""
    cluster.filters.append(
        lambda _source, target, message: not (isinstance(message, Append) and target == host.addr)
    )


def crash_the_joiner(cluster, leader, late):
    late.crash()
    cluster.restart(late)


def the_leader_dies_while_the_joiner_has_more_of_its_log_than_the_other(stage):
    cluster, leader, late, other = left_behind(stage, part_time=200.0)
    cluster.restart(late)
    in_the_middle(cluster, late)
    # What the other one has not is not committed, whatever the joiner acknowledges.
    keep_entries_from(cluster, other)
    operation = cluster.put(leader, "k", 1)
    cluster.run(100)
    assert late.core.state.log.last_index > other.core.state.log.last_index
    assert operation.ended is None
    leader.crash()
    cluster.filters.clear()
    for host in (late, other):
        cluster.connection_refused(host.addr, leader.addr)
    return cluster, leader, late, other


# schedules


def the_last_part_comes_when_the_log_is_further(stage):
    cluster, leader, late, other = left_behind(stage)
    cluster.restart(late)
    deliver = last_part_held(cluster, late)
    first = cluster.submit(leader.addr, INCR, AckLevel.QUORUM, timeout=3000, req_id="meanwhile")
    ordered = lambda: first.ended and late.core.state.log.last_index >= first.ended.index
    assert cluster.run_while(lambda: not ordered(), at_most=500)
    deliver()
    assert cluster.run_while(lambda: not late.may_read(), at_most=5000)
    silence(cluster, other)
    leader.crash()
    for host in (late, other):
        cluster.connection_refused(host.addr, leader.addr)
    assert cluster.run_while(lambda: not late.core.accepts, at_most=15_000)
    again = cluster.submit(
        late.addr, INCR, AckLevel.QUORUM, timeout=3000, req_id="meanwhile", since=Since(1, 0)
    )
    cluster.run(500)
    assert again.ended.outcome == b"1"


def the_joiner_forgets_requests_before_the_last_part_comes(stage, *, restarts=False):
    """Its own table is full before that part is there, which was read when nothing of that had been forgotten."""
    cluster, leader, late, other = left_behind(stage, request_table=8)
    cluster.restart(late)
    deliver = last_part_held(cluster, late)
    first = cluster.submit(leader.addr, INCR, AckLevel.QUORUM, timeout=3000, req_id="meanwhile")
    assert cluster.run_while(lambda: first.ended is None, at_most=500)
    write_all(cluster, leader)
    assert cluster.run_while(lambda: late.core.table.floor < first.ended.index, at_most=500)
    deliver()
    if restarts:
        assert cluster.run_while(lambda: late.disk.base[0] < first.ended.index, at_most=500)
        crash_the_joiner(cluster, leader, late)
    assert cluster.run_while(lambda: not late.may_read(), at_most=5000)
    silence(cluster, other)
    leader.crash()
    for host in (late, other):
        cluster.connection_refused(host.addr, leader.addr)
    assert cluster.run_while(lambda: not late.core.accepts, at_most=15_000)
    since = Since(first.ended.index - 1, late.page_since.mark)
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


def a_late_message_to_begin_anew_is_of_what_the_log_has_dropped(stage):
    cluster, leader, late, other = left_behind(stage)
    held = beginning_held(cluster, leader)
    cluster.restart(late)
    assert cluster.run_while(lambda: not late.may_read(), at_most=10_000)
    write_all(cluster, leader)
    begins_at = held[0][1].prev_index
    assert cluster.run_while(lambda: late.core.state.log.base_index <= begins_at, at_most=1000)
    # What is acknowledged now is with the leader and this host.
    keep_entries_from(cluster, other)
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
    again = cluster.submit(lonely.addr, INCR, AckLevel.QUORUM, timeout=3000, req_id="lost", since=Since(1, 0))
    assert cluster.run_while(lambda: again.ended is None, at_most=500)
    assert again.ended.refusal is None
    assert cluster.value(lonely, "n") == 1
