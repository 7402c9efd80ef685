"""Values as bytes: one tag byte, then the body. Knows no cache and no replica.

An exact int keeps a form of its own, so that the leader of a cluster can add to it without unpickling
anything. Everything else is a pickle, as in Django's own backends.
"""

from __future__ import annotations

import pickle
from typing import Any

from django_hacache.exceptions import HACacheError

INTEGER = 1
PICKLE = 2

_INTEGER_TAG = bytes([INTEGER])
_PICKLE_TAG = bytes([PICKLE])


class EncodingError(HACacheError, ValueError):
    """Stored bytes begin with a tag that this version does not know."""


def encode(value: Any) -> bytes:
    """Return the bytes of a value. Raises whatever pickle raises where the value cannot be pickled."""
    if type(value) is int:
        return _INTEGER_TAG + integer_to_bytes(value)
    return _PICKLE_TAG + pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def decode(data: bytes | memoryview) -> Any:
    """Return the value that `encode` was given.

    Raises EncodingError where the first byte is no tag, and whatever pickle raises.
    """
    if data:
        tag = data[0]
        # Of a long value the replica hands out a memoryview, which is cut without a copy.
        if tag == PICKLE:
            return pickle.loads(data[1:])
        if tag == INTEGER:
            return integer_from_bytes(data[1:])
    raise EncodingError(f"A stored value begins with {bytes(data[:1])!r}; {INTEGER} or {PICKLE} is expected.")


def decode_integer(data: bytes | memoryview) -> int | None:
    """Return the value where it is stored as an integer, None for any other."""
    return integer_from_bytes(data[1:]) if len(data) and data[0] == INTEGER else None


def integer_to_bytes(value: int) -> bytes:
    """Return two's complement, big endian, in as few whole bytes as hold it with its sign."""
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def integer_from_bytes(data: bytes | memoryview) -> int:
    return int.from_bytes(data, "big", signed=True)
