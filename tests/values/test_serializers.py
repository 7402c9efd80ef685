from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_hacache.exceptions import HACacheError
from django_hacache.values.serializers import (
    decode,
    decode_integer,
    encode,
    integer_from_bytes,
    integer_to_bytes,
    marked_foreign,
    without_mark,
)


@given(st.integers())
def test_integers_of_any_size_keep_their_value_and_stay_readable_without_pickle(number):
    assert decode(encode(number)) == number
    assert decode_integer(encode(number)) == number
    assert integer_from_bytes(integer_to_bytes(number)) == number


@pytest.mark.parametrize("number", [0, 1, -1, 127, 128, -128, -129, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1])
def test_integers_take_as_many_bytes_as_they_need(number):
    assert len(integer_to_bytes(number)) <= (abs(number).bit_length() // 8) + 1


@pytest.mark.parametrize("value", [None, "", "text", b"\x01", 1.5, [1, {"a": (2,)}], True, False])
def test_other_values_keep_value_and_type(value):
    found = decode(encode(value))
    assert found == value
    assert type(found) is type(value)
    assert decode_integer(encode(value)) is None


class Count(int):
    pass


def test_a_subclass_of_int_is_not_taken_for_an_int():
    assert type(decode(encode(Count(3)))) is Count


def test_any_buffer_can_be_decoded():
    assert decode(memoryview(encode([1, 2]))) == [1, 2]
    assert decode(memoryview(encode(-5))) == -5


@pytest.mark.parametrize("data", [b"", b"\x03abc", b"\x09"])
def test_unknown_encodings_are_errors(data):
    with pytest.raises(HACacheError, match="1 or 128"):
        decode(data)


@given(st.binary())
def test_bytes_of_a_program_outside_are_never_a_value_and_lose_nothing(data):
    stored = marked_foreign(data)
    with pytest.raises(HACacheError, match="outside"):
        decode(stored)
    assert decode_integer(stored) is None
    assert without_mark(stored) == without_mark(memoryview(stored)) == data


@pytest.mark.parametrize("value", [0, -1, [1]])
def test_a_value_of_ours_has_no_mark(value):
    assert without_mark(encode(value)) == encode(value)
    assert without_mark(b"") == b""


def test_what_cannot_be_pickled_is_the_callers_error():
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        encode(lambda: None)
