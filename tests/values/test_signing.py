"""Values that carry a proof of who stored them, and where."""

from __future__ import annotations

import hmac
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_hacache.values.serializers import EncodingError, encode, marked_foreign
from django_hacache.values.signing import BODY, PLAIN, SALT, SIGNATURE_BYTES, SignatureError, Signed, codec_of

KEY, OTHER = b"k" * 32, b"o" * 32
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary()
)

exploded = []


class Bomb:
    def __reduce__(self):
        return exploded.append, (1,)


@pytest.fixture(autouse=True)
def nothing_exploded_yet():
    exploded.clear()


def refused(codec, key, data):
    """Whether it is refused in every way, and nothing of it was run."""
    with pytest.raises(SignatureError):
        codec.decode(key, data)
    with pytest.raises(SignatureError):
        codec.moved(key, "elsewhere", data)
    assert codec.integer(key, data) is None
    return not codec.holds(key, data) and not exploded


@given(st.text(), VALUES)
def test_a_signed_value_comes_back_with_its_type(key, value):
    codec = Signed("cache", [KEY])
    data = codec.encode(key, value)
    for stored in (data, memoryview(data)):
        found = codec.decode(key, stored)
        assert (found, type(found)) == (value, type(value))
        assert codec.holds(key, stored)


@given(st.integers())
def test_a_signed_integer_can_be_added_to_without_unpickling(number):
    codec = Signed("cache", [KEY])
    assert codec.integer("key", codec.encode("key", number)) == number
    assert codec.integer("key", codec.encode("key", float(number % 9))) is None


def test_the_tag_is_an_hmac_over_key_and_value_with_a_key_derived_for_the_cache():
    data = Signed("cache", [KEY]).encode("käse", [1, 2])
    hashed = hmac.new(sha256(SALT.encode() + KEY).digest(), b"cache", "sha256")
    message = (5).to_bytes(4, "big") + "käse".encode() + encode([1, 2])
    assert data[1:BODY] == hmac.digest(hashed.digest(), message, "sha256")[:SIGNATURE_BYTES]
    assert SIGNATURE_BYTES >= 16


def test_every_bit_counts():
    codec = Signed("cache", [KEY])
    for value in (["some", 1], 1000):
        data = codec.encode("key", value)
        for place in range(8 * len(data)):
            flipped = bytearray(data)
            flipped[place // 8] ^= 1 << place % 8
            assert refused(codec, "key", bytes(flipped))


@given(st.binary(max_size=80))
def test_bytes_of_whatever_kind_are_no_value(data):
    codec = Signed("cache", [KEY])
    assert refused(codec, "key", data)
    assert refused(codec, "key", b"\x02" + data)


@pytest.mark.parametrize("length", range(BODY + 3))
def test_a_value_that_is_cut_off_is_none(length):
    codec = Signed("cache", [KEY])
    data = codec.encode("key", "text")
    assert refused(codec, "key", data[:length])
    assert refused(codec, "key", data[:1] + data[1:SIGNATURE_BYTES] + data[BODY:])


def test_what_is_not_signed_is_never_unpickled():
    codec = Signed("cache", [KEY])
    for data in (encode(Bomb()), encode(5), marked_foreign(encode(Bomb())), b"", b"\x02"):
        assert refused(codec, "key", data)


def test_a_value_is_none_under_another_key_or_in_another_cache():
    codec = Signed("cache", [KEY])
    data = codec.encode("key", Bomb())
    assert refused(codec, "ke", data)
    assert refused(codec, "key ", data)
    assert refused(Signed("cach", [KEY]), "key", data)
    # What is a part of the key cannot become one of the value.
    assert refused(codec, "ke", data[:BODY] + b"y" + data[BODY:])
    assert refused(codec, "key" + chr(data[BODY]), data[:BODY] + data[BODY + 1 :])


def test_the_type_of_a_value_cannot_be_changed():
    codec = Signed("cache", [KEY])
    number, text = codec.encode("key", 5), codec.encode("key", "five")
    for tag, body in (
        (number, text),
        (text, number),
        (number, b"\x00" + encode(5)),
        (text, b"\x00" + encode("five")),
    ):
        assert refused(codec, "key", tag[:BODY] + body[BODY:])
    assert refused(codec, "key", number[:BODY] + encode("\x05"))


def test_a_value_that_moves_is_signed_anew():
    codec = Signed("cache", [KEY])
    moved = codec.moved("old", "new", codec.encode("old", [1]))
    assert codec.decode("new", moved) == [1]
    assert refused(codec, "old", moved)


def test_the_first_key_signs_and_all_verify():
    older, both = Signed("cache", [KEY]), Signed("cache", [OTHER, KEY])
    assert both.decode("key", older.encode("key", 1)) == 1
    assert refused(older, "key", both.encode("key", 1))
    assert Signed("cache", [OTHER]).decode("key", both.encode("key", 1)) == 1
    # A value that moves, or is counted up, goes over to the new key.
    assert Signed("cache", [OTHER]).decode("b", both.moved("a", "b", older.encode("a", 1))) == 1


def test_without_keys_nothing_is_signed_and_what_is_signed_is_no_value():
    codec = codec_of("cache", ())
    assert codec is PLAIN
    assert codec.encode("key", "text") == encode("text")
    signed = codec_of("cache", [KEY]).encode("key", Bomb())
    with pytest.raises(EncodingError, match="SIGNING_KEYS is not set"):
        codec.decode("key", signed)
    assert codec.integer("key", codec_of("cache", [KEY]).encode("key", 5)) is None
    assert exploded == []


@pytest.mark.parametrize("data", [b"", b"\x00text", b"\x07", encode(1)])
def test_without_keys_whatever_is_there_counts_as_there(data):
    assert PLAIN.holds("key", data)


def test_nothing_shows_a_key():
    codec = Signed("cache", [KEY])
    assert KEY.decode() not in repr(codec)
    with pytest.raises(SignatureError) as caught:
        codec.decode("key", b"")
    assert KEY.decode() not in str(caught.value)
