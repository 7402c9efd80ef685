"""When a node counts as hung: neither a busy machine nor one that was suspended makes it so."""

from __future__ import annotations

import pytest

from django_hacache.link import watch
from django_hacache.link.watch import LOOKS, SILENCE_NS, Watch


class Node:
    """Its note, what it has run, and the time, all set by the test."""

    def __init__(self):
        self.now = self.alive_at = 10**12
        self.ran = 7

    def suspended(self, ns):
        self.now += ns


@pytest.fixture
def node(monkeypatch):
    node = Node()
    monkeypatch.setattr(watch, "boottime_ns", lambda: node.now)
    return node


@pytest.fixture
def looks(node):
    watching = Watch(lambda: node.alive_at, lambda: node.ran)

    def looks(times, every_ns=SILENCE_NS // 10):
        """What so many looks, a tenth of a second apart, find."""
        found = []
        for _ in range(times):
            node.now += every_ns
            found.append(watching.hung())
        return found

    return looks


def test_a_node_without_a_sign_of_life_for_as_long_as_a_lease_is_hung(looks):
    assert looks(11) == [False] * 9 + [True] * 2


def test_one_that_has_been_silent_before_is_found_out_sooner(node, looks):
    node.alive_at -= 10 * SILENCE_NS
    assert looks(LOOKS + 1) == [False] * LOOKS + [True]


def test_a_machine_that_was_suspended_has_no_hung_nodes(node, looks):
    assert not any(looks(2))
    node.suspended(1000 * SILENCE_NS)
    # This process may run before the node does.
    assert not any(looks(2))
    node.alive_at = node.now
    assert not any(looks(9))


def test_whoever_could_not_run_either_has_not_looked(looks):
    assert not any(looks(LOOKS, every_ns=SILENCE_NS))


def test_a_slow_node_is_no_hung_one(node, looks):
    for _ in range(20):
        assert not any(looks(8))
        node.alive_at = node.now


def test_a_node_that_says_nothing_of_itself_is_not_judged(node, looks):
    node.alive_at = 0
    assert not any(looks(100))


def test_a_node_that_may_have_a_tenth_of_a_processor_is_slow_and_not_hung(node, looks):
    """Its turn takes five seconds for half a second of work."""
    assert not any(looks(1))
    for _ in range(12):
        assert not any(looks(4))
        node.ran += SILENCE_NS // 25
    node.alive_at = node.now
    assert not any(looks(9))


def test_one_that_has_had_a_processor_for_a_second_and_does_not_end_its_turn_is_hung(node, looks):
    found = []
    for _ in range(11):
        found += looks(1)
        node.ran += SILENCE_NS // 10
    assert found == [False] * 10 + [True]


def test_one_that_ran_and_stops_in_the_middle_of_a_turn_is_hung_a_second_later(node, looks):
    assert not any(looks(2))
    node.ran += 1
    assert looks(11) == [False] * 10 + [True]
