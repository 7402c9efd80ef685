"""How much of anything is done in one go, and how often it is tried."""

import pytest

from django_hacache.consensus.log import BATCH_ENTRIES_MAX, Log
from django_hacache.consensus.messages import Entry, Forward, Refusal
from django_hacache.consensus.proposals.ordering import AT_ONCE
from django_hacache.consensus.proposals.proposals import LEADERS_MAX


def recorded(host):
    """What each Ready of the host applies from now on: its entries' sizes."""
    applied = []
    take = host.core.take_ready

    def take_ready():
        ready = take()
        applied.append([entry.size for entry in ready.apply])
        return ready

    host.core.take_ready = take_ready
    return applied


@pytest.mark.parametrize("apply_bytes", [1, 700])
def test_a_ready_applies_some_of_what_is_committed_and_those_that_follow_the_rest(stage, apply_bytes):
    cluster = stage(apply_bytes=apply_bytes)
    leader = cluster.settle()
    follower = cluster.followers()[0]
    applied = [recorded(host) for host in (leader, follower)]
    operations = [cluster.put(follower, f"k{number}", number) for number in range(40)]
    before = cluster.now
    assert cluster.run_while(lambda: any(one.ended is None for one in operations), at_most=100)
    assert cluster.now - before < 50  # no timer was waited for
    assert all(one.ended.refusal is None for one in operations)
    for readies in applied:
        assert max(map(len, readies)) >= 1
        assert all(len(sizes) == 1 or sum(sizes) <= apply_bytes for sizes in readies if sizes)
    assert [cluster.value(follower, f"k{number}") for number in range(40)] == list(range(40))


def test_an_append_carries_a_bounded_number_of_entries_however_small_they_are():
    log = Log(entries=[Entry(number, 1) for number in range(1, 3001)])
    assert len(log.batch_from(1, 1 << 30)) == BATCH_ENTRIES_MAX
    assert log.batch_from(2001, 1 << 30)[-1].index == 3000


def test_a_change_is_given_to_a_few_leaders_and_no_more_where_each_is_lost_with_it(stage):
    cluster = stage(nodes=5)
    cluster.settle()
    origin = cluster.followers()[0]
    lost = []

    def kills(_source, target, message):
        host = cluster.hosts[target]
        if isinstance(message, Forward) and host.running and host is not origin:
            lost.append(target)
            host.crash()
            cluster.after(10_000, cluster.restart, host)
        return not isinstance(message, Forward)

    cluster.filters.append(kills)
    operation = cluster.put(origin, "k", 1, timeout=3_600_000)
    assert cluster.run_while(lambda: operation.ended is None, at_most=120_000)
    assert operation.ended.refusal is Refusal.OUTCOME_UNKNOWN
    assert len(lost) == LEADERS_MAX


def test_a_leader_that_says_that_it_does_not_lead_has_not_had_the_change(stage):
    cluster = stage()
    cluster.settle()
    for number in range(LEADERS_MAX + 2):
        leader = cluster.leader()
        operation = cluster.put(cluster.followers()[0], "k", number, timeout=20_000)
        assert leader.hand_over()
        assert cluster.run_while(lambda one=operation: one.ended is None, at_most=20_000)
        assert operation.ended.refusal is None


def test_what_waited_for_a_leader_is_sent_in_portions_and_in_order(stage):
    cluster = stage()
    leader = cluster.settle()
    origin = cluster.followers()[0]
    leader.crash()
    waiting = [cluster.put(origin, f"k{number}", number, timeout=20_000) for number in range(5 * AT_ONCE)]
    readies, take = [], origin.core.take_ready

    def take_ready():
        ready = take()
        readies.append([message for _, message in ready.messages if isinstance(message, Forward)])
        return ready

    origin.core.take_ready = take_ready
    # The one that leads then orders its own without sending them.
    assert cluster.run_while(lambda: any(one.ended is None for one in waiting), at_most=20_000)
    assert all(one.ended.refusal is None for one in waiting)
    assert max(map(len, readies)) <= AT_ONCE
    assert [cluster.value(origin, f"k{number}") for number in range(5 * AT_ONCE)] == list(range(5 * AT_ONCE))


def test_changes_whose_time_is_over_are_refused_in_portions(stage):
    cluster = stage()
    cluster.settle()
    origin = cluster.followers()[0]
    for host in cluster.hosts.values():
        if host is not origin:
            host.crash()
    waiting = [cluster.put(origin, "k", number, timeout=1000) for number in range(5 * AT_ONCE)]
    ended, take = [], origin.core.take_ready

    def take_ready():
        ready = take()
        ended.append(len(ready.completions))
        return ready

    origin.core.take_ready = take_ready
    assert cluster.run_while(lambda: any(one.ended is None for one in waiting), at_most=1500)
    assert 0 < max(ended) <= AT_ONCE
