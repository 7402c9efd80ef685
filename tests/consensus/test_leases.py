"""Leases of hosts that are behind."""

from __future__ import annotations

from django_hacache.consensus.messages import Append, Ping


def entries_come_later(cluster, host, by: float) -> None:
    """Entries wait behind others on the way to `host`, or for its disk; heartbeats do not."""
    deliver = cluster.deliver

    def slower(source, target, function, *rest):
        late = target == host.addr and isinstance(rest[-1], Append) and rest[-1].entries
        cluster.at(cluster.now + (by if late else 0), deliver, source, target, function, *rest)

    cluster.deliver = slower


def test_a_host_that_is_steadily_behind_by_more_than_a_heartbeat_serves_reads_while_others_write(stage):
    cluster = stage()
    leader = cluster.settle()
    behind, _ = cluster.followers()
    entries_come_later(cluster, behind, 1.5 * cluster.plan.heartbeat)
    looks = reads = 0
    for number in range(500):
        cluster.put(leader, f"k{number % 50}", number)
        cluster.run(10)
        if number > 150:
            looks, reads = looks + 1, reads + behind.may_read()
            if behind.may_read():
                cluster.invariants.read(behind)
    assert reads == looks


def test_grants_that_wait_are_bounded_by_the_heartbeats_of_one_lease(stage):
    """A host that takes heartbeats and applies nothing, while others write."""
    cluster = stage()
    leader = cluster.settle()
    stuck, _ = cluster.followers()
    cluster.filters.append(lambda source, target, m: not (isinstance(m, Append) and target == stuck.addr))
    for number in range(1000):
        cluster.put(leader, "k", number)
        cluster.run(10)
    assert 0 < len(stuck.core.lease.waiting) <= cluster.plan.lease // cluster.plan.heartbeat + 1
    assert not stuck.may_read()


def test_of_two_grants_the_one_that_waits_for_less_and_lasts_longer_is_kept_whichever_comes_first(stage):
    cluster = stage()
    leader = cluster.settle()
    host, _ = cluster.followers()
    cluster.cut([host], cluster.followers_of(host))
    cluster.run(1500)
    term, applied, now = leader.core.hard.term, host.core.state.applied, host.clock()

    def ping(waits_for: int, lease: int) -> None:
        host.receive(
            leader.core.sender(), Ping(term, 1, now, applied + waits_for, echo_ms=now, lease_ms=lease)
        )

    for short, long in (((1, 200), (1, 400)), ((2, 500), (2, 450))):
        ping(*short)
        ping(*long)
    waiting = host.core.lease.waiting
    assert [commit - applied for commit, _ in waiting] == [1, 2]
    assert sorted(deadline for _, deadline in waiting) == [deadline for _, deadline in waiting]
    ping(1, 900)
    assert len(waiting) == 1
