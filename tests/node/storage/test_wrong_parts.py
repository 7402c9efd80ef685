"""Parts that are not the next one, or that no leader sends."""

from __future__ import annotations

import pytest

from django_hacache.node.storage import parts
from django_hacache.node.storage.incomplete import REQUESTS, is_place
from django_hacache.node.storage.snapshots import SnapshotReceiver
from django_hacache.replica.layout import MAX_CACHES
from django_hacache.wire import cache_pb2 as pb
from tests.node.storage.transferring import INDEX, LEADER, TERM, Target


def chunk_of(**changed):
    item = pb.SnapshotItem(cache_name="default", key=b"k", value=b"v", version=1)
    given = {
        "term": TERM,
        "transfer": "t",
        "number": 1,
        "after": b"",
        "upto": b"x",
        "index": INDEX,
        "items": [item],
    }
    return pb.SnapshotChunk(**(given | changed))


NO_PARTS = {
    "a transfer without a name": {"transfer": ""},
    "a transfer with a long one": {"transfer": "t" * 100},
    "a piece of nothing": {"items": [], "more": True},
    "a piece of two values": {"items": [pb.SnapshotItem(cache_name="c", key=b"k")] * 2, "more": True},
    "the last piece of nothing": {"items": [], "offset": 1},
    "a key that is empty": {"items": [pb.SnapshotItem(cache_name="c", key=b"")]},
    "a key that is too long": {"items": [pb.SnapshotItem(cache_name="c", key=b"k" * 512)]},
    "a cache without a name": {"items": [pb.SnapshotItem(cache_name="", key=b"k")]},
    "a cache with a NUL in its name": {"items": [pb.SnapshotItem(cache_name="a\0b", key=b"k")]},
    "a place that is too long": {"upto": b"x" * 2000},
    "a floor above the part": {"floor": INDEX + 1, "done": True},
    "a request from after the part": {"requests": [pb.RecentRequest(req_id="r", index=INDEX + 1)]},
}


@pytest.mark.parametrize("name", NO_PARTS)
def test_what_no_leader_sends_is_told_of_and_changes_nothing(replica, caplog, name):
    target = Target(replica)
    receiver = SnapshotReceiver(target)
    before = target.hard
    for _ in range(2):
        assert receiver.on_chunk(LEADER, chunk_of(**NO_PARTS[name])).broken
    assert target.hard == before
    assert caplog.text.count("no leader sends") == 1
    assert not receiver.on_chunk(LEADER, chunk_of()).broken


def test_the_pieces_of_a_value_are_kept_up_to_the_largest_value(replica, monkeypatch):
    monkeypatch.setattr(parts, "VALUE_BYTES_MAX", 5)
    receiver = SnapshotReceiver(Target(replica))
    pieces = [pb.SnapshotItem(cache_name="c", key=b"k", value=b"vv") for _ in range(3)]
    taken = [
        not receiver.on_chunk(LEADER, chunk_of(items=[piece], offset=2 * number, more=True)).broken
        for number, piece in enumerate(pieces)
    ]
    assert taken == [True, True, False]


def test_more_caches_than_a_replica_can_hold_end_no_node(replica, caplog):
    items = [pb.SnapshotItem(cache_name=f"c{number}", key=b"k") for number in range(MAX_CACHES + 1)]
    assert not SnapshotReceiver(Target(replica)).on_chunk(LEADER, chunk_of(items=items)).broken
    with replica.snapshot() as reading:
        assert len(reading.caches()) == MAX_CACHES
    assert "is skipped" in caplog.text


@pytest.mark.parametrize("place", [b"k" * 600, b"c\0" + b"k" * 600, REQUESTS + b"x", REQUESTS + bytes(17)])
def test_nothing_can_be_read_from_a_place_that_is_none(place):
    assert not is_place(place)
