"""Requests put together from bytes are those that protobuf makes of the same changes, byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_hacache.changes.codec import request_of
from django_hacache.changes.prepared import Requests
from django_hacache.changes.vocabulary import Batch, Clear, Increment, Insert, Remove, Touch, When
from django_hacache.conf import AckLevel

CACHE = "pages of ünïcode"
# What a length takes one, two and three bytes for.
SIZES = st.sampled_from([0, 1, 127, 128, 16_383, 16_384])
KEYS = st.text(st.characters(exclude_categories=["Cs"])) | SIZES.map("k".__mul__)
TIMES = st.none() | st.integers(0, 2**63)

inserts = st.builds(
    Insert,
    KEYS,
    st.binary() | SIZES.map(bytes),
    TIMES,
    st.sampled_from(When),
    st.integers(0, 2**64 - 1),
    st.booleans(),
)
removals = st.builds(Remove, KEYS)
batches = st.builds(Batch, st.lists(inserts | removals, max_size=5).map(tuple))
names = st.text("0123456789abcdef", min_size=32, max_size=32)


@given(inserts | removals | batches, names, st.sampled_from(AckLevel), st.integers(1, 2**32 - 1))
def test_both_ways_come_to_the_same_bytes(change, req_id, ack, timeout_ms):
    readable = request_of(change, CACHE, req_id=req_id, ack=ack, timeout_ms=timeout_ms)
    prepared = Requests(CACHE).payload_of(change, req_id=req_id, ack=ack, timeout_ms=timeout_ms)
    assert prepared == readable.SerializeToString()


@pytest.mark.parametrize("change", [Touch("key", 1), Increment("key", 1), Clear()])
def test_what_is_rare_is_left_to_the_readable_way(change):
    assert Requests(CACHE).payload_of(change, req_id="name", ack=AckLevel.ALL, timeout_ms=1) is None


@pytest.mark.parametrize("change", [Insert("\ud800", b"", None), Remove("\ud800")])
def test_a_key_that_no_encoding_takes_is_refused_alike_in_both_ways(change):
    arguments = {"req_id": "name", "ack": AckLevel.QUORUM, "timeout_ms": 1}
    with pytest.raises(UnicodeEncodeError):
        request_of(change, CACHE, **arguments)
    with pytest.raises(UnicodeEncodeError):
        Requests(CACHE).payload_of(change, **arguments)
