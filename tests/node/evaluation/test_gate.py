"""Who is faster than eviction waits, and what is in the order always fits."""

from __future__ import annotations

from random import Random

import pytest

from django_hacache.node.evaluation.gate import Gate, Look, cost_of, most_of
from django_hacache.replica.eviction import Limits
from django_hacache.replica.room import Room, Usage

MIB = 1 << 20
LIMIT = 8 * MIB
PLENTY = Room(map=1 << 40, file=0, used=0, growth=1 << 40)


class Host:
    """What a gate sees of its replica."""

    def __init__(self, limit=LIMIT):
        self.room = PLENTY
        self.used = {}
        self.entries = 100
        self.looks = 0
        limits = Limits(limit, None, 3)
        self.gate = Gate({"c": limits}, limits, self.look)

    def look(self):
        self.looks += 1
        return Look(self.room, {cache: Usage(self.entries, used) for cache, used in self.used.items()})

    def has_room(self, size, cache="c", *, removal=False):
        return self.gate.lacks(cache, size, removal=removal) is None

    def order(self, count, size):
        """Order changes while there is room; how many."""
        for index in range(1, count + 1):
            if not self.has_room(size):
                return index - 1
            self.gate.ordered(index, "c", size)
        return count


@pytest.fixture
def host():
    return Host()


def test_what_is_ordered_and_not_applied_counts_for_its_cache(host):
    ordered = host.order(1000, MIB // 4)
    assert most_of(LIMIT) - MIB // 4 < ordered * MIB // 4 <= most_of(LIMIT)


def test_other_caches_do_not_wait_for_one_that_is_beyond_its_limit(host):
    host.used["c"] = most_of(LIMIT)
    assert not host.has_room(100)
    assert host.has_room(100, "other")


def test_what_is_applied_counts_as_the_replica_holds_it(host):
    ordered = host.order(1000, MIB // 4)
    host.used["c"] = LIMIT // 2
    host.gate.applied(ordered)
    assert host.has_room(MIB // 4)


def test_a_change_that_is_larger_than_the_margin_goes_alone(host):
    host.used["c"] = LIMIT
    assert host.has_room(LIMIT)
    host.gate.ordered(1, "c", LIMIT)
    assert not host.has_room(1)


def test_nobody_waits_for_the_one_entry_that_a_cache_has_left(host):
    """It does not go before there is another one, however large it is."""
    host.used["c"], host.entries = 2 * LIMIT, 1
    assert host.has_room(LIMIT)
    host.gate.ordered(1, "c", LIMIT)
    assert not host.has_room(1)
    host.gate.applied(1)
    host.used["c"], host.entries = 3 * LIMIT, 2
    assert not host.has_room(1)


@pytest.mark.parametrize("room", ["map", "growth"])
def test_the_free_part_of_map_and_file_system_bounds_what_is_in_the_order(host, room):
    full = {"map": 64 * MIB, "growth": 1 << 40} if room == "map" else {"map": 1 << 40, "growth": 24 * MIB}
    host.room = Room(file=40 * MIB, used=40 * MIB, **full)
    size = MIB // 2
    assert host.order(1000, size) * cost_of(size) <= 24 * MIB - host.room.headroom // 2


def test_removals_may_take_of_the_headroom_what_others_may_not(host):
    host.room = Room(map=64 * MIB, file=64 * MIB, used=61 * MIB, growth=0)
    assert not host.has_room(1)
    assert host.has_room(1, removal=True)
    host.room = Room(map=64 * MIB, file=64 * MIB, used=64 * MIB, growth=0)
    host.gate.applied(0)
    host.gate.seen(host.look())
    assert not host.has_room(1, removal=True)


def test_the_upkeep_learns_what_somebody_waits_for(host):
    host.room = Room(map=64 * MIB, file=64 * MIB, used=60 * MIB, growth=0)
    assert not host.has_room(3 * MIB)
    assert not host.has_room(MIB)
    assert host.gate.wanted == cost_of(3 * MIB)


def test_the_replica_is_looked_at_only_where_what_was_seen_leaves_no_room(host):
    for _ in range(100):
        assert host.has_room(100)
    assert host.looks == 1
    host.used["c"] = most_of(LIMIT)
    host.gate.time_passed()
    assert host.has_room(100)
    assert host.looks == 1


def test_what_a_lost_leadership_had_ordered_counts_no_more(host):
    host.order(1000, MIB)
    assert not host.has_room(MIB)
    host.gate.abandon()
    assert host.has_room(MIB)


@pytest.mark.parametrize("seed", range(20))
def test_what_needs_no_closer_look_would_have_room_with_one(seed):
    rng = Random(seed)
    names = ["c", "other", "of another host"]
    for _ in range(50):
        host = Host(rng.choice([MIB, LIMIT, 64 * MIB]))
        host.room = Room(map=256 * MIB, file=0, used=0, growth=rng.randrange(256 * MIB))
        host.used = {name: rng.randrange(80 * MIB) for name in names[: rng.randrange(4)]}
        host.gate.seen(host.look())
        for index in range(1, 30):
            size = host.gate.plenty
            if size < 0:
                break
            for cache in [*names, "new"]:
                assert host.gate._lacks(cache, size, removal=False) is None
                assert host.gate._lacks(cache, size, removal=True) is None
            host.gate.ordered(index, rng.choice(names), rng.randint(0, size))
            if rng.random() < 0.3:
                host.gate.applied(rng.randrange(index))


def test_where_there_is_plenty_of_room_nobody_looks_again(host):
    for index in range(1, 1000):
        assert host.has_room(100)
        host.gate.ordered(index, "c", 100)
        host.gate.applied(index)
    assert host.looks == 1
