"""How fast the programs of one host are read."""

from __future__ import annotations

import gc

import pytest

from django_hacache.node.transport.streams.budget import (
    BURST_S,
    HOSTS_MAX,
    REQUEST_BYTES,
    REQUESTS_PER_S,
    Budget,
    Budgets,
)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def budget(clock):
    return Budget(clock)


def served_in(budget, clock, seconds, size=0):
    """How many requests are read from who sends all the time."""
    served, end = 0, clock.now + seconds
    while clock.now < end:
        served += 1
        clock.now += budget.spend(size)
    return served


def test_who_sends_now_and_then_never_waits(budget, clock):
    for _ in range(10 * REQUESTS_PER_S):
        assert budget.spend(0) == 0
        clock.now += 1.01 / REQUESTS_PER_S


def test_a_burst_is_read_at_once(budget):
    assert not any(budget.spend(0) for _ in range(int(BURST_S * REQUESTS_PER_S)))
    assert budget.spend(0) > 0


def test_a_flood_is_read_at_the_rate_that_it_is_given(budget, clock):
    served_in(budget, clock, 10)
    assert served_in(budget, clock, 100) == pytest.approx(100 * REQUESTS_PER_S, rel=0.01)


def test_what_is_large_counts_as_several(budget, clock):
    served_in(budget, clock, 10, size=9 * REQUEST_BYTES)
    assert served_in(budget, clock, 100, size=9 * REQUEST_BYTES) == pytest.approx(
        10 * REQUESTS_PER_S, rel=0.01
    )


def test_what_is_sent_on_to_two_peers_leaves_most_of_a_gigabit_to_others(budget, clock):
    size = 1 << 20
    served_in(budget, clock, 10, size=size)
    assert 2 * 8 * size * served_in(budget, clock, 100, size=size) / 100 <= 0.3e9


def test_patience_is_not_saved_up_without_end(budget, clock):
    clock.now += 3600
    assert served_in(budget, clock, 0.001) <= 1.1 * BURST_S * REQUESTS_PER_S


def test_streams_of_one_host_share_a_budget_and_those_of_others_do_not():
    budgets = Budgets()
    one, other = budgets.of("ipv4:10.0.0.1"), budgets.of("ipv4:10.0.0.2")
    assert budgets.of("ipv4:10.0.0.1") is one
    assert one is not other


def test_who_opens_a_stream_again_and_again_begins_with_nothing_anew():
    budgets = Budgets()
    stream = budgets.of("ipv4:10.0.0.1")
    stream._paid_until += 1e6
    del stream
    gc.collect()
    assert budgets.of("ipv4:10.0.0.1").spend(0) > BURST_S


def test_of_hosts_without_end_some_are_known():
    budgets = Budgets()
    for number in range(HOSTS_MAX + 5):
        budgets.of(str(number))
    assert len(budgets._of_host) == HOSTS_MAX
