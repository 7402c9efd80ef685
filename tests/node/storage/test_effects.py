"""What the order says is done, and what no replica can do is skipped by each."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from django_hacache.consensus.hard_state import HardState
from django_hacache.consensus.messages import Entry
from django_hacache.consensus.ready import Ready
from django_hacache.node.encoding.large import LARGE_BYTES, with_length
from django_hacache.node.storage.effects import apply
from django_hacache.node.storage.storage import Storage, applied_place
from django_hacache.replica.layout import MAX_CACHES
from django_hacache.replica.replica import Replica
from django_hacache.wire import cache_pb2 as pb


def stored(cache, key="key", value=b"value"):
    return pb.Effect(set=pb.SetEffect(cache_name=cache, entry=key, value=value))


def entry(index, *effects, raw=None):
    return Entry(index, 1, pb.Effects(effects=effects).SerializeToString() if raw is None else raw)


IMPOSSIBLE = [
    pb.Effect(),
    stored(""),
    stored("x" * 256),
    stored("a\0b"),
    pb.Effect(clear=pb.ClearEffect(cache_name="")),
    pb.Effect(remove_keys=pb.RemoveKeys(cache_name="c", keys=[b"key", b""])),
    pb.Effect(remove_keys=pb.RemoveKeys(cache_name="c", keys=[b"k" * 512])),
]


@pytest.mark.parametrize("impossible", IMPOSSIBLE, ids=str)
def test_what_no_replica_can_do_is_skipped_said_and_counted_and_the_rest_is_done(replica, caplog, impossible):
    storage = Storage(replica)
    entries = [
        entry(1, stored("c", "before"), impossible, stored("c", "after")),
        entry(2, stored("c", "next")),
    ]
    with caplog.at_level(logging.ERROR, "django_hacache.node"):
        storage.write(Ready(entries=entries, apply=entries), HardState("me"), 0)
    assert [replica.get("c", key) for key in ("before", "after", "next")] == [b"value"] * 3
    with replica.snapshot() as reading:
        assert applied_place(reading.journal) == (2, 1)
    assert storage.skipped == 1
    assert "effect 1 of the entry at 1" in caplog.text


def test_an_entry_whose_bytes_are_no_effects_is_skipped(replica):
    with replica.write() as transaction:
        assert apply(transaction, entry(1, raw=b"\xff\xff")) == 1
        assert apply(transaction, entry(2, stored("c"))) == 0


def fill(replica, count=MAX_CACHES):
    with replica.write() as transaction:
        for number in range(count):
            apply(transaction, entry(number + 1, stored(f"c{number}")))


def cleared(cache):
    return pb.Effect(clear=pb.ClearEffect(cache_name=cache))


def test_a_cache_too_many_is_skipped_and_the_others_are_written(replica):
    fill(replica)
    with replica.write() as transaction:
        assert apply(transaction, entry(100, stored("one more"), stored("c1", value=b"new"))) == 1
    assert replica.get("one more", "key") is None
    assert replica.get("c1", "key") == b"new"


def test_the_name_of_an_empty_cache_makes_room_for_another_one(replica):
    fill(replica)
    with replica.write() as transaction:
        assert apply(transaction, entry(100, cleared("c7"), stored("one more"))) == 0
    assert replica.get("one more", "key") == b"value"
    assert replica.get("c7", "key") is None
    with replica.write() as transaction:
        # The place that its name has left is not its own any more.
        assert apply(transaction, entry(101, stored("c7"), cleared("c8"))) == 1
        assert apply(transaction, entry(102, stored("c7", value=b"again"))) == 0
    assert replica.get("c7", "key") == b"again"
    assert replica.get("one more", "key") == b"value"


def test_a_drop_that_was_not_committed_has_not_happened(replica):
    fill(replica)
    with pytest.raises(ZeroDivisionError), replica.write() as transaction:
        apply(transaction, entry(100, cleared("c7"), stored("one more")))
        raise ZeroDivisionError
    assert replica.get("c7", "key") == b"value"
    assert replica.get("one more", "key") is None
    with replica.write() as transaction:
        assert apply(transaction, entry(101, stored("c7", value=b"new"))) == 0
    assert replica.get("c7", "key") == b"new"


WRITER = """
import sys
from pathlib import Path
from django_hacache.replica.replica import Replica
from tests.node.storage.test_effects import apply, cleared, entry, stored
replica = Replica.open(Path(sys.argv[1]), writable=True, map_size=64 << 20)
with replica.write() as transaction:
    for number, name in enumerate(sys.argv[2:]):
        apply(transaction, entry(1000 + number, cleared(name) if number % 2 == 0 else stored(name, value=b"new")))
"""


def test_who_reads_a_cache_whose_name_another_process_has_dropped_finds_nothing(tmp_path):
    """A worker with the settings of the release before: its reads are misses, and no errors."""
    replica = Replica.open(tmp_path, writable=True, map_size=64 << 20)
    fill(replica)
    replica.close()
    reader = Replica.open(tmp_path, writable=False, map_size=64 << 20)
    assert reader.get("c7", "key") == b"value"
    for change in (["c7", "one more"], ["c8", "c7"]):
        subprocess.run([sys.executable, "-c", WRITER, str(tmp_path), *change], check=True, timeout=30)
        found = b"new" if "c7" in change[1:] else None
        assert reader.get("c7", "key") == found
        assert reader.get_many("c7", ["key"]) == ({} if found is None else {"key": found})
        assert (reader.present("c7", "key") is None) == (found is None)
    reader.close()


LARGE = bytes(range(256)) * (LARGE_BYTES // 256)


@pytest.mark.parametrize(
    "effects",
    [
        [stored("default", value=LARGE)],
        [stored("default", "a"), stored("default", "b", LARGE), stored("default", "c"), cleared("other")],
        [
            stored("default", "a", LARGE),
            stored("default", "a", LARGE[1:] + b"z"),
            stored("default", "b", b""),
        ],
        [pb.Effect(remove_keys=pb.RemoveKeys(cache_name="default", keys=[b"x" * 400] * 1000))],
    ],
    ids=["one", "among small ones", "twice", "large without a value"],
)
def test_large_values_are_stored_as_small_ones_are_wherever_they_stand_in_their_effect(replica, effects):
    whole = [pb.Effects(effects=effects).SerializeToString()]
    # As the leader writes them: the large field last.
    for one in effects:
        if len(one.set.value) >= LARGE_BYTES:
            small = pb.SetEffect(cache_name=one.set.cache_name, entry=one.set.entry).SerializeToString()
            whole.append(b"".join(with_length(1, with_length(1, [small, *with_length(3, [one.set.value])]))))
        else:
            whole.append(pb.Effects(effects=[one]).SerializeToString())
    for raw in (whole[0], b"".join(whole[1:])):
        with replica.write() as transaction:
            transaction.clear("default")
            assert apply(transaction, entry(7, raw=raw)) == 0
        expected = {one.set.entry: one.set.value for one in effects if one.HasField("set")}
        assert {key: bytes(replica.get("default", key)) for key in expected} == expected


@pytest.mark.parametrize(
    "flaw",
    [
        lambda raw: raw + b"\x0b",
        lambda raw: raw[:-1],
        lambda raw: raw + b"\x80" * 20,
        lambda raw: raw[:1] + b"\xff" * 9 + raw[2:],
    ],
    ids=["a field of no known form", "cut off", "a number that does not end", "a length beyond it"],
)
def test_a_large_entry_whose_bytes_are_no_effects_is_skipped(replica, flaw):
    raw = flaw(pb.Effects(effects=[stored("default", value=LARGE)]).SerializeToString())
    with replica.write() as transaction:
        assert apply(transaction, entry(1, raw=raw)) == 1
    assert replica.get("default", "key") is None


def test_of_a_large_value_no_copy_is_made_before_it_is_stored():
    class Store:
        def refuses(self, cache):
            return ""

        def set(self, cache, key, value, **more):
            self.value = value

    store, effect = Store(), stored("default", value=LARGE)
    one = entry(1, effect)
    apply(store, one)
    assert store.value.obj is one.effect
    assert store.value == LARGE
