"""Packets wait for the same time each, and leave in their order."""

from __future__ import annotations

import struct

import pytest

from benchmarks.delay import Line, Refused, attribute, packet_id, verdict

MS = 1_000_000


def test_nothing_leaves_before_its_time() -> None:
    line = Line(delay_ns=MS)
    line.enter(7, now_ns=0)
    assert line.leave(MS - 1) is None
    assert line.leave(MS) == 7
    assert line.leave(2 * MS) is None


def test_whatever_is_due_leaves_together() -> None:
    line = Line(delay_ns=MS)
    for number in (1, 2, 3):
        line.enter(number, now_ns=number * 10)
    assert line.leave(MS + 20) == 2
    assert line.leave(MS + 30) == 3


def test_it_sleeps_until_the_first_is_due() -> None:
    line = Line(delay_ns=MS)
    assert line.wait_s(0) is None
    line.enter(1, now_ns=0)
    line.enter(2, now_ns=MS // 2)
    assert line.wait_s(MS // 4) == 0.00075
    assert line.wait_s(3 * MS) == 0


def test_attributes_are_padded_and_say_their_real_length() -> None:
    padded = attribute(2, b"abcde")
    assert len(padded) == 12
    assert struct.unpack_from("=HH", padded) == (9, 2)


def test_a_verdict_names_the_last_packet_that_may_go() -> None:
    told = verdict(258)
    assert struct.unpack_from("=I", told)[0] == len(told)
    assert told.endswith(bytes([0, 0, 0, 1, 0, 0, 1, 2]))


def test_a_packet_is_known_by_its_number() -> None:
    told = struct.pack("=IHHII", 40, 3 << 8, 0, 0, 0) + bytes(4) + struct.pack("=HH", 11, 1)
    assert packet_id(told + struct.pack(">IHB", 99, 0x0800, 2)) == 99


def test_what_the_kernel_refuses_is_an_error() -> None:
    told = struct.pack("=IHHII", 36, 2, 0, 0, 0) + struct.pack("=i", -1)
    with pytest.raises(Refused, match="not permitted"):
        packet_id(told)
