"""Values: what is stored is what is read, and bytes that are no value are a miss, whatever they are.

Pickles are left alone: to read one is to run it, and a fuzzer would. Who may write them is for other rooms to see to.
"""

from __future__ import annotations

import pickle

from django_hacache import serializers
from django_hacache.unreadable import is_unreadable

REPLY = b"damaged"


def run(data: bytes) -> None:
    stored = serializers.marked_foreign(data)
    assert serializers.without_mark(stored) == data
    assert is_unreadable("default", "key", stored, error_of(stored))
    if data[:1] != bytes([serializers.PICKLE]):
        bytes_that_came(data)
    number = int.from_bytes(data, "big", signed=True)
    for value in (number, data, data.hex(), {"of": (data, number)}, None, True, [data.decode("latin-1")]):
        encoded = serializers.encode(value)
        for form in (encoded, memoryview(encoded)):
            read = serializers.decode(form)
            assert read == value and type(read) is type(value)
    small = serializers.decode_integer(serializers.encode(number))
    assert small in (None, number)
    damaged(data)


def bytes_that_came(data: bytes) -> None:
    error = error_of(data)
    assert (error is None) == (data[:1] == bytes([serializers.INTEGER])), error
    assert error is None or is_unreadable("default", "key", data, error)
    assert serializers.decode_integer(data) is None or data[0] == serializers.INTEGER


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
        assert is_unreadable("default", "key", encoded[:end], error)
