"""Values: what is stored is what is read, and bytes that are no value are a miss, whatever they are.

Pickles are left alone, but where they would have to be signed: to read one is to run it, and a fuzzer would.
"""

from __future__ import annotations

import pickle

from django_hacache.values import serializers
from django_hacache.values.signing import BODY, PLAIN, SignatureError, codec_of
from django_hacache.worker.unreadable import decode_again

REPLY = b"damaged"
MISS = object()
SIGNED = codec_of("cache", [b"the first key, of 32 bytes or so", b"a former key, of 32 bytes or so."])


def run(data: bytes) -> None:
    stored = serializers.marked_foreign(data)
    assert serializers.without_mark(stored) == data
    assert is_miss(stored, error_of(stored))
    if data[:1] != bytes([serializers.PICKLE]):
        bytes_that_came(data)
    number = int.from_bytes(data, "big", signed=True)
    for value in (number, data, data.hex(), {"of": (data, number)}, None, True, [data.decode("latin-1")]):
        for codec in (PLAIN, SIGNED):
            encoded = codec.encode("key", value)
            for form in (encoded, memoryview(encoded)):
                read = codec.decode("key", form)
                assert read == value and type(read) is type(value)
    small = serializers.decode_integer(serializers.encode(number))
    assert small in (None, number)
    damaged(data)
    unproved(data)


def bytes_that_came(data: bytes) -> None:
    error = error_of(data)
    assert (error is None) == (data[:1] == bytes([serializers.INTEGER])), error
    assert error is None or is_miss(data, error)
    assert serializers.decode_integer(data) is None or data[0] == serializers.INTEGER


def is_miss(data: bytes, error: Exception | None) -> bool:
    assert error is not None
    return decode_again(PLAIN, "default", "key", data, error, MISS) is MISS


def error_of(data: bytes) -> Exception | None:
    try:
        serializers.decode(data)
    except Exception as error:  # noqa: BLE001 - what a reader catches
        return error
    return None


def damaged(data: bytes) -> None:
    """A pickle of ours that ends too soon: what it holds was never code."""
    encoded = serializers.encode([data, REPLY])
    for end in (1, len(encoded) // 2, len(encoded) - 1):
        error = error_of(encoded[:end])
        assert isinstance(error, Exception), pickle.loads
        assert is_miss(encoded[:end], error)


def unproved(data: bytes) -> None:
    """Where values are signed: bytes of others, with the mark or a signature of something else before them."""
    signed = SIGNED.encode("key", data)
    moved = SIGNED.encode(data.hex(), REPLY)
    for forged in (data, signed[:1] + data, signed[:BODY] + data, signed + data, data + signed, moved):
        if forged == signed:  # nothing was put before it or after it
            continue
        try:
            SIGNED.decode("key", forged)
        except SignatureError:
            assert SIGNED.integer("key", forged) is None and not SIGNED.holds("key", forged)
        else:
            raise AssertionError("it was read")
