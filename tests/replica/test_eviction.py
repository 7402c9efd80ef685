from __future__ import annotations

import os
from hashlib import sha256
from itertools import pairwise

import pytest

from django_hacache.replica.clock import NEVER, boottime_ns
from django_hacache.replica.eviction import (
    EXPIRED_LOOKS_A_STEP,
    MAX_SURPLUS_KEYS,
    MIN_LOOKS,
    WRITES_A_STEP,
    Limits,
    map_size_for,
)
from django_hacache.replica.layout import MAX_KEY_BYTES
from django_hacache.replica.replica import Replica
from django_hacache.worker.standalone_store import StandaloneStore
from tests.replica.writing import put, store

MEBIBYTE = 1024 * 1024
UNLIMITED = Limits(size_limit=2**40, max_entries=None, cull_frequency=3)


def hash_of(number):
    return sha256(b"%d" % number).hexdigest()


def surplus(replica, limits):
    return replica.transact(StandaloneStore, lambda store, of: store.surplus("default", of), limits)


def remove_surplus(replica, limits):
    """One step; how many keys were to go, and how many of them were there."""

    def remove(store, of):
        gone = store.surplus("default", of)
        return len(gone), store.remove_keys("default", gone), store.remove_keys("default", gone)

    return replica.transact(StandaloneStore, remove, limits)


def keys(*numbers):
    return [b"k%d" % number for number in numbers]


def fill(replica, count):
    with replica.write() as transaction:
        for number in range(count):
            transaction.set(
                "default", f"k{number}", b"v", version=transaction.next_version(), expires_at=NEVER
            )


def expired_keys(transaction, *args):
    return [one.key for one in transaction.expired(*args)]


def test_a_cache_within_its_limits_keeps_everything(replica):
    fill(replica, 9)
    assert surplus(replica, Limits(MEBIBYTE, 9, 3)) == []
    assert surplus(replica, UNLIMITED) == []


def test_past_max_entries_one_of_cull_frequency_goes_oldest_first(replica):
    fill(replica, 9)
    assert surplus(replica, Limits(MEBIBYTE, 8, 3)) == keys(0, 1, 2)
    assert surplus(replica, Limits(MEBIBYTE, 8, 4)) == keys(0, 1)
    assert surplus(replica, Limits(MEBIBYTE, 2, 4)) == keys(0, 1, 2, 3, 4, 5, 6)


@pytest.mark.parametrize(("frequency", "stays"), [(0, 1), (2, MAX_SURPLUS_KEYS * 5 // 4)])
def test_what_goes_of_too_many_entries_goes_in_bounded_steps_however_few_are_left_after_the_first(
    replica, frequency, stays
):
    count = MAX_SURPLUS_KEYS * 5 // 2
    fill(replica, count)
    for _ in range(4):
        gone, _, _ = remove_surplus(replica, Limits(2**40, count - 1, frequency))
        assert gone <= MAX_SURPLUS_KEYS
    assert replica.usage("default").entries == stays
    assert surplus(replica, Limits(2**40, count - 1, frequency)) == []


def test_one_call_is_bounded(replica):
    fill(replica, 5 * MAX_SURPLUS_KEYS)
    assert len(surplus(replica, Limits(2**40, 10, 3))) == MAX_SURPLUS_KEYS
    assert len(surplus(replica, Limits(1, None, 3))) == MAX_SURPLUS_KEYS


def test_an_entry_that_was_written_again_is_no_longer_the_oldest(replica):
    fill(replica, 9)
    put(replica, "k0")
    assert surplus(replica, Limits(MEBIBYTE, 8, 4)) == keys(1, 2)


def test_what_is_surplus_is_gone_after_its_keys_are_removed(replica):
    fill(replica, 9)
    assert remove_surplus(replica, Limits(MEBIBYTE, 8, 3)) == (3, 3, 0)
    assert replica.usage("default").entries == 6
    assert replica.get("default", "k0") is None


def test_standalone_max_entries_is_never_exceeded(replica):
    limits = Limits(MEBIBYTE, 30, 3)
    for number in range(200):
        store(replica, f"k{number}", b"v", limits)
        assert replica.get("default", f"k{number}") == b"v"
        assert replica.usage("default").entries <= 30


@pytest.mark.parametrize("size", [10, 500, 3000, 50_000])
def test_standalone_usage_stays_under_the_size_limit_within_a_small_slack(replica, size):
    limits = Limits(2 * MEBIBYTE, None, 3)
    value = os.urandom(size)
    for number in range(6 * MEBIBYTE // (size + 80)):
        store(replica, f"k{number}", value, limits)
        assert replica.get("default", f"k{number}") == value
    assert replica.usage("default").bytes <= limits.size_limit * 1.1
    assert replica.usage("default").bytes >= limits.size_limit * 0.8


def test_a_value_as_large_as_the_limit_evicts_the_others_and_stays(replica):
    limits = Limits(MEBIBYTE, None, 3)
    for number in range(100):
        store(replica, f"k{number}", b"v" * 100, limits)
    store(replica, "large", b"x" * MEBIBYTE, limits)
    assert replica.get("default", "large") == b"x" * MEBIBYTE
    assert replica.usage("default").entries == 1


def test_expired_entries_are_found_among_those_that_are_looked_at(replica):
    for key, expires_at in (("a", 30), ("b", 10), ("c", 20), ("d", NEVER), ("e", boottime_ns() * 2)):
        put(replica, key, expires_at=expires_at)
    with replica.write() as transaction:
        assert expired_keys(transaction, "default", 9, 10) == []
        assert expired_keys(transaction, "default", 20, 10) == [b"b", b"c"]
        assert expired_keys(transaction, "default", boottime_ns(), 10) == [b"a", b"b", b"c"]
        assert expired_keys(transaction, "default", boottime_ns(), 1) == [b"a"]


def test_the_next_look_goes_on_where_the_last_one_ended(replica, directory):
    for number in range(10):
        put(replica, f"k{number}", expires_at=1)
    with replica.write() as transaction:
        assert expired_keys(transaction, "default", boottime_ns(), 4) == keys(0, 1, 2, 3)
    replica.close()
    again = Replica.open(directory, writable=True, map_size=64 * MEBIBYTE)
    with again.write() as transaction:
        assert transaction.delete("default", "k4") is False
        assert expired_keys(transaction, "default", boottime_ns(), 4) == keys(5, 6, 7, 8)
        assert expired_keys(transaction, "default", boottime_ns(), 4) == keys(9)
        assert expired_keys(transaction, "default", boottime_ns(), 4) == keys(0, 1, 2, 3)
    again.close()


def test_each_cache_has_a_place_of_its_own_to_go_on_from(replica):
    for cache in ("one", "two"):
        for number in range(3):
            put(replica, f"k{number}", cache=cache, expires_at=1)
    with replica.write() as transaction:
        assert expired_keys(transaction, "one", boottime_ns(), 2) == keys(0, 1)
        assert expired_keys(transaction, "two", boottime_ns(), 1) == keys(0)
        assert expired_keys(transaction, "one", boottime_ns(), 2) == keys(2)


def test_in_an_empty_cache_nothing_is_found(replica):
    with replica.write() as transaction:
        assert expired_keys(transaction, "default", boottime_ns(), 4) == []
    assert surplus(replica, Limits(1, None, 3)) == []


def test_the_oldest_of_a_small_cache_are_found_wherever_the_last_look_ended(replica):
    fill(replica, 9)
    with replica.write() as transaction:
        transaction.expired("default", boottime_ns(), 5)
    assert surplus(replica, Limits(MEBIBYTE, 8, 3)) == keys(0, 1, 2)


def test_of_a_large_cache_the_oldest_of_those_looked_at_go(replica):
    with replica.write() as transaction:
        for number in reversed(range(2 * MIN_LOOKS)):
            version = transaction.next_version()
            transaction.set("default", f"k{number:04}", b"v", version=version, expires_at=NEVER)
    limits = Limits(MEBIBYTE, 2 * MIN_LOOKS - 1, MIN_LOOKS)
    assert surplus(replica, limits) == [b"k%04d" % number for number in (MIN_LOOKS - 1, MIN_LOOKS - 2)]
    assert surplus(replica, limits) == [
        b"k%04d" % number for number in (2 * MIN_LOOKS - 1, 2 * MIN_LOOKS - 2)
    ]


@pytest.mark.parametrize("name", ["{:06}", "{}", "hashed {}"])
def test_a_large_cache_keeps_what_was_written_last_wherever_its_keys_stand(replica, name):
    def key(number):
        return name.format(hash_of(number) if "hashed" in name else number)

    limits = Limits(2 * MEBIBYTE, None, 3)
    for number in range(12_000):
        store(replica, key(number), bytes(500), limits)
    assert replica.usage("default").entries > 2 * MIN_LOOKS
    assert len(replica.get_many("default", [key(number) for number in range(11_200, 12_000)])) == 800
    assert len(replica.get_many("default", [key(number) for number in range(4_000)])) == 0


def test_what_has_expired_goes_before_what_is_older(replica):
    fill(replica, 9)
    put(replica, "dead", expires_at=1)
    assert surplus(replica, Limits(MEBIBYTE, 9, 9)) == [b"dead"]


def test_standalone_writes_reclaim_expired_entries_a_few_at_a_time(replica):
    with replica.write() as transaction:
        for number in range(1000):
            transaction.set("default", f"k{number}", b"v", version=transaction.next_version(), expires_at=1)
    counts = []
    for _ in range((1000 // EXPIRED_LOOKS_A_STEP + 3) * WRITES_A_STEP):
        store(replica, "new", b"v", UNLIMITED)
        counts.append(replica.usage("default").entries)
    assert counts[-1] == 1
    assert max(before - after for before, after in pairwise(counts)) <= EXPIRED_LOOKS_A_STEP


def test_expired_entries_go_before_live_ones(replica):
    limits = Limits(MEBIBYTE, 10, 3)
    for number in range(8):
        store(replica, f"live{number}", b"v", UNLIMITED)
    for number in range(2):
        put(replica, f"dead{number}", expires_at=1)
    store(replica, "new", b"v", limits)
    assert replica.usage("default").entries == 9
    assert replica.get("default", "live0") == b"v"


def test_a_standalone_set_never_fails_because_the_map_is_full(directory):
    replica = Replica.open(directory, writable=True, map_size=MEBIBYTE)
    for number in range(3000):
        store(replica, f"k{number}", bytes(1000), UNLIMITED)
        assert replica.get("default", f"k{number}") == bytes(1000)
    replica.close()


def test_long_keys_are_evicted_like_others(replica):
    limits = Limits(MEBIBYTE, 3, 2)
    for number in range(10):
        store(replica, f"{number}" * (MAX_KEY_BYTES + 1), b"v", limits)
    assert replica.usage("default").entries <= 3


def test_the_map_is_larger_than_the_limits():
    assert map_size_for(256 * MEBIBYTE) == (4 * 256 + 64) * MEBIBYTE


def test_a_sweep_goes_over_what_is_too_short_for_an_entry(replica):
    """It ended when the machine was booted, and goes with whatever else has expired."""
    with replica.write() as transaction:
        transaction.set("default", "a", b"1", version=1, expires_at=1)
        transaction.set("default", "c", b"1", version=2, expires_at=NEVER)
        transaction.set("default", "d", b"1", version=3, expires_at=1)
        transaction._txn.put(b"b", b"short", db=transaction._database("default"))
    with replica.snapshot() as reading:
        found = reading.expired("default", boottime_ns(), 10)
    assert [one.key for one in found] == [b"a", b"b", b"d"]
