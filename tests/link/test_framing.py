from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_hacache.exceptions import LinkError
from django_hacache.link.framing import FRAME_BYTES_MAX, HEADER, FrameReader, Oversize, frame

LIMIT = 20


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(edges)]


@given(st.lists(st.binary(max_size=2 * LIMIT)), st.lists(st.integers(min_value=0)))
def test_payloads_arrive_whole_and_in_order_however_the_stream_is_cut(payloads, cuts):
    reader = FrameReader(LIMIT)
    stream = b"".join(frame(payload) for payload in payloads)
    received = [payload for piece in split(stream, cuts) for payload in reader.feed(piece)]
    expected = [payload if len(payload) <= LIMIT else Oversize(len(payload)) for payload in payloads]
    assert received == expected
    assert [type(payload) for payload in received] == [type(payload) for payload in expected]


def test_an_oversize_payload_is_never_buffered():
    reader = FrameReader(LIMIT)
    assert list(reader.feed(HEADER.pack(1000))) == []
    for _ in range(99):
        assert list(reader.feed(bytes(10))) == []
        assert reader.waiting == 0
    assert list(reader.feed(bytes(10) + frame(b"next"))) == [Oversize(1000), b"next"]


def test_an_announced_length_that_nobody_sends_is_an_error():
    with pytest.raises(LinkError, match=str(FRAME_BYTES_MAX + 1)):
        list(FrameReader(LIMIT).feed(HEADER.pack(FRAME_BYTES_MAX + 1)))


def test_what_has_begun_is_known_with_its_length():
    reader = FrameReader(LIMIT)
    seen = []
    for byte in frame(bytes(3)):
        list(reader.feed(bytes([byte])))
        seen.append(reader.begun)
    assert seen == [0, 0, 0, 3, 3, 3, 0]
