from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_hacache.exceptions import ReplicaError
from django_hacache.replica import replica as module
from django_hacache.replica.clock import NEVER, boottime_ns
from django_hacache.replica.layout import MAX_CACHES, MAX_KEY_BYTES, replica_key
from django_hacache.replica.reading import VIEW_BYTES
from django_hacache.replica.replica import Replica
from django_hacache.replica.room import Usage
from tests.replica.writing import MAP_SIZE, as_lmdb_has_it, digest, digest_of, open_replica, put

PAST = 1
HOUR = 3600 * 10**9


def test_what_was_set_is_read(replica):
    put(replica, "k", b"v")
    assert replica.get("default", "k") == b"v"
    assert replica.has("default", "k")


def test_a_key_that_was_never_set_is_a_miss(replica):
    assert replica.get("default", "k") is None
    put(replica, "other")
    assert replica.get("default", "k") is None
    assert not replica.has("default", "k")


def test_an_empty_value_is_no_miss(replica):
    put(replica, "k", b"")
    assert replica.get("default", "k") == b""


def test_a_large_value_comes_back_whole_and_outlives_later_writes(replica):
    value = bytes(range(256)) * (VIEW_BYTES // 64)
    put(replica, "k", value)
    read = replica.get("default", "k")
    put(replica, "k", b"other" * VIEW_BYTES)
    assert bytes(read) == value


def test_caches_do_not_see_each_others_keys(replica):
    put(replica, "k", b"a", cache="a")
    put(replica, "k", b"b", cache="b")
    assert replica.get("a", "k") == b"a"
    assert replica.get("b", "k") == b"b"


def test_clear_empties_its_own_cache_only(replica):
    for cache in ("a", "b"):
        put(replica, "k", cache=cache, expires_at=boottime_ns() + HOUR)
    with replica.write() as transaction:
        transaction.clear("a")
    assert replica.get("a", "k") is None
    assert replica.usage("a") == Usage(0, 0)
    assert replica.get("b", "k") == b"value"


def test_empty_takes_every_cache_and_leaves_the_journal(replica, directory):
    for cache in ("a", "b"):
        put(replica, "k", cache=cache)
    with replica.write() as transaction:
        transaction.journal.put_meta("term", b"7")
    replica.close()
    reopened = Replica.open(directory, writable=True, map_size=MAP_SIZE)
    with reopened.write() as transaction:
        transaction.empty()
    with reopened.snapshot() as picture:
        assert [list(picture.items(cache)) for cache in picture.caches()] == [[], []]
        assert picture.journal.get_meta("term") == b"7"
    reopened.close()


@pytest.mark.parametrize("name", ["journal.meta", "entries:a", "order:a", "meta", "log", "ключ"])
def test_a_cache_may_have_any_name_without_touching_another_database(replica, name):
    put(replica, "k", b"a", cache="a")
    put(replica, "k", b"named", cache=name)
    with replica.write() as transaction:
        transaction.journal.put_meta("k", b"meta")
        transaction.clear("a")
    assert replica.get(name, "k") == b"named"
    with replica.snapshot() as picture:
        assert picture.journal.get_meta("k") == b"meta"
        assert picture.caches() == sorted(["a", name])


@pytest.mark.parametrize("name", ["", "x" * 256, "a\0b"])
def test_a_name_that_cannot_be_a_cache_is_refused(replica, name):
    with pytest.raises(ReplicaError, match="cannot name a cache"):
        put(replica, "k", cache=name)


def test_one_cache_too_many_is_a_clear_error_and_the_others_stay(replica):
    for number in range(MAX_CACHES):
        put(replica, "k", cache=f"c{number}")
    with pytest.raises(ReplicaError, match=f"{MAX_CACHES} caches"):
        for number in range(MAX_CACHES, MAX_CACHES + 4):
            put(replica, "k", cache=f"c{number}")
    put(replica, "k", b"new", cache="c1")
    assert replica.get("c1", "k") == b"new"


def test_get_many_returns_the_live_ones(replica):
    put(replica, "a", b"1")
    put(replica, "b", b"2", expires_at=PAST)
    put(replica, "x" * 600, b"3")
    assert replica.get_many("default", ["a", "b", "c", "x" * 600]) == {"a": b"1", "x" * 600: b"3"}
    assert replica.get_many("unknown", ["a"]) == {}


def test_a_key_that_expired_is_never_returned(replica):
    put(replica, "k", expires_at=boottime_ns())
    assert replica.get("default", "k") is None
    assert replica.get_many("default", ["k"]) == {}
    assert replica.item("default", "k") is None
    assert not replica.has("default", "k")
    with replica.write() as transaction:
        assert transaction.item("default", "k") is None
        assert transaction.present("default", "k").value == b"value"


def test_a_key_that_has_not_expired_is_returned(replica):
    expires_at = boottime_ns() + HOUR
    put(replica, "k", expires_at=expires_at, version=9)
    assert replica.get("default", "k") == b"value"
    assert replica.item("default", "k") == (b"value", 9, expires_at)


def test_a_key_expires_when_the_boot_clock_says_so(replica, monkeypatch):
    put(replica, "k", expires_at=1000)
    monkeypatch.setattr(module, "boottime_ns", lambda: 999)
    assert replica.get("default", "k") == b"value"
    assert replica.get_many("default", ["k"]) == {"k": b"value"}
    monkeypatch.setattr(module, "boottime_ns", lambda: 1000)
    assert replica.get("default", "k") is None
    assert replica.get_many("default", ["k"]) == {}


def test_a_jump_of_the_wall_clock_changes_nothing(replica, monkeypatch):
    put(replica, "k", expires_at=boottime_ns() + HOUR)
    monkeypatch.setattr("time.time", lambda: 1e11)
    monkeypatch.setattr("time.time_ns", lambda: 10**20)
    assert replica.get("default", "k") == b"value"


def test_keep_ttl_keeps_the_expiry_of_the_entry_that_is_present(replica):
    put(replica, "k", b"1", expires_at=boottime_ns() + HOUR)
    expires_at = replica.item("default", "k").expires_at
    put(replica, "k", b"2", keep_ttl=True)
    assert replica.item("default", "k").expires_at == expires_at
    put(replica, "absent", keep_ttl=True, expires_at=expires_at)
    assert replica.item("default", "absent").expires_at == expires_at


def test_keep_ttl_depends_on_presence_and_not_on_the_clock(replica):
    put(replica, "k", b"1", expires_at=PAST)
    put(replica, "k", b"2", keep_ttl=True, expires_at=boottime_ns() + HOUR)
    assert replica.present("default", "k").expires_at == PAST


def test_touch_acts_on_a_present_entry_even_if_it_has_expired(replica):
    put(replica, "k", expires_at=PAST)
    with replica.write() as transaction:
        assert transaction.touch("default", "k", version=50, expires_at=NEVER)
        assert not transaction.touch("default", "absent", version=51, expires_at=NEVER)
    assert replica.item("default", "k") == (b"value", 50, NEVER)
    with replica.write() as transaction:
        assert transaction.expired("default", boottime_ns(), 10) == []


def test_delete_tells_whether_a_live_entry_was_there_and_removes_an_expired_one(replica):
    put(replica, "live")
    put(replica, "expired", expires_at=PAST)
    with replica.write() as transaction:
        assert transaction.delete("default", "live")
        assert not transaction.delete("default", "expired")
        assert not transaction.delete("default", "absent")
    assert replica.present("default", "expired") is None
    assert replica.usage("default") == Usage(0, 0)


def test_an_exception_in_the_block_undoes_the_whole_transaction(replica):
    put(replica, "k", b"old")
    with pytest.raises(KeyError), replica.write() as transaction:
        transaction.set("default", "k", b"new", version=99, expires_at=NEVER)
        transaction.set("fresh", "k", b"new", version=99, expires_at=NEVER)
        transaction.journal.put_meta("term", b"1")
        raise KeyError
    assert replica.get("default", "k") == b"old"
    assert replica.get("fresh", "k") is None
    with replica.snapshot() as picture:
        assert picture.journal.get_meta("term") is None
    put(replica, "k", b"after", cache="fresh")
    assert replica.get("fresh", "k") == b"after"


def test_versions_grow_with_every_write(replica):
    seen = []
    for _ in range(3):
        with replica.write() as transaction:
            seen += [transaction.next_version(), transaction.next_version()]
            transaction.set("default", "k", b"", version=seen[-1], expires_at=NEVER)
    assert seen == sorted(set(seen))


def test_a_snapshot_stays_as_it_was_while_writes_go_on(replica):
    for number in range(300):
        put(replica, f"k{number}", b"old")
    before = digest(replica)
    with replica.snapshot() as picture:
        entries = picture.items("default")
        first = [next(entries) for _ in range(10)]
        for number in range(300):
            put(replica, f"k{number}", b"new")
        put(replica, "k", cache="later")
        rest = list(entries)
        assert digest_of(picture) == before
        assert picture.caches() == ["default"]
    assert {entry.value for entry in first + rest} == {b"old"}
    assert [entry.key for entry in first + rest] == sorted(f"k{number}".encode() for number in range(300))


def test_a_snapshot_installed_elsewhere_gives_an_equal_replica(replica, directory):
    put(replica, "a", b"1")
    put(replica, "b" * 700, b"2", cache="other", expires_at=boottime_ns() + HOUR)
    put(replica, "c", b"3", expires_at=PAST)
    copy = Replica.open(directory.parent / "copy", writable=True, map_size=MAP_SIZE)
    with replica.snapshot() as picture, copy.write() as transaction:
        for cache in picture.caches():
            for key, value, version, expires_at in picture.items(cache):
                transaction.put_raw(cache, key, value, version=version, expires_at=expires_at)
    assert digest(copy) == digest(replica)
    assert copy.get("other", "b" * 700) == b"2"
    with copy.write() as transaction:
        transaction.delete("default", "a")
    assert digest(copy) != digest(replica)
    copy.close()


def test_the_digest_does_not_depend_on_expiry_or_on_empty_caches(replica, directory):
    put(replica, "k", version=1, expires_at=boottime_ns() + HOUR)
    copy = Replica.open(directory.parent / "copy", writable=True, map_size=MAP_SIZE)
    put(copy, "k", version=1)
    with copy.write() as transaction:
        transaction.clear("emptied")
    assert digest(copy) == digest(replica)
    copy.close()


@pytest.mark.parametrize("length", [1, MAX_KEY_BYTES - 1, MAX_KEY_BYTES, MAX_KEY_BYTES + 1, 100_000])
def test_keys_of_any_length_work(replica, length):
    put(replica, "x" * length, b"v")
    assert replica.get("default", "x" * length) == b"v"
    assert replica.get("default", "x" * length + "y") is None
    with replica.write() as transaction:
        assert transaction.delete("default", "x" * length)


def test_the_empty_key_works(replica):
    put(replica, "", b"v")
    assert replica.get("default", "") == b"v"


KEYS = st.text(st.characters(exclude_categories=["Cs"])) | st.integers(500, 520).map(
    lambda length: "x" * length
)


@given(KEYS, KEYS)
def test_two_keys_never_share_a_replica_key(one, other):
    assert (replica_key(one) == replica_key(other)) == (one == other)
    assert 0 < len(replica_key(one)) <= MAX_KEY_BYTES


@given(KEYS)
def test_no_key_can_take_the_place_of_a_hashed_one(key):
    hashed = replica_key("x" * 600)
    assert hashed == b"\xff" + hashlib.sha256(b"x" * 600).digest()
    assert replica_key(key) != hashed


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["set", "keep", "add", "touch", "delete", "clear"]),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from([NEVER, 5, 10**18]),
    ),
    max_size=30,
)


@given(CHANGES)
def test_a_replica_holds_what_a_dictionary_would(tmp_path_factory, changes):
    replica = Replica.open(tmp_path_factory.mktemp("r") / "location", writable=True, map_size=MAP_SIZE)
    expected = {}
    with replica.write() as transaction:
        for version, (what, key, expires_at) in enumerate(changes, 1):
            found = expected.get(key)
            new = (key.encode(), b"%d" % version, version, expires_at)
            match what:
                case "set":
                    transaction.set("c", key, new[1], version=version, expires_at=expires_at)
                    expected[key] = new
                case "keep":
                    transaction.set("c", key, new[1], version=version, expires_at=expires_at, keep_ttl=True)
                    expected[key] = (*new[:3], found[3]) if found else new
                case "add":
                    absent = found is None or found[3] == 5
                    assert transaction.add("c", key, new[1], version=version, expires_at=expires_at) == absent
                    expected[key] = new if absent else found
                case "touch":
                    assert transaction.touch("c", key, version=version, expires_at=expires_at) == bool(found)
                    if found:
                        expected[key] = (*found[:2], version, expires_at)
                case "delete":
                    assert transaction.delete("c", key) == (found is not None and found[3] != 5)
                    expected.pop(key, None)
                case "clear":
                    transaction.clear("c")
                    expected.clear()
        assert list(transaction.items("c")) == [expected[key] for key in sorted(expected)]
        assert transaction.usage("c").entries == len(expected)
        assert [one.key for one in transaction.expired("c", 10, 10)] == [
            key.encode() for key in sorted(expected) if expected[key][3] == 5
        ]
    replica.close()


def test_what_is_too_short_for_an_entry_is_a_miss_and_goes_as_what_has_expired(directory):
    replica = open_replica(directory)
    put(replica, "k", b"v")
    put(replica, "short", b"v")
    replica.close()
    with as_lmdb_has_it(directory, readonly=False) as raw, raw.begin(write=True) as txn:
        txn.put(b"short", b"123", db=raw.open_db(b"entries:default", txn))
    replica = open_replica(directory)
    assert replica.get("default", "short") is None
    assert replica.get_many("default", ["k", "short"]) == {"k": b"v"}
    assert not replica.has("default", "short")
    assert replica.item("default", "short") is None
    with replica.snapshot() as reading:
        assert [one.key for one in reading.expired("default", boottime_ns(), 10)] == [b"short"]
    put(replica, "short", b"again")
    assert replica.get("default", "short") == b"again"
