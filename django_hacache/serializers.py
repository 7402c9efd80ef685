"""Values as bytes. Knows no cache and no replica.

An exact int keeps a form of its own, one tag byte and its body, so that the leader of a cluster can add to it without
unpickling anything. Everything else is a pickle, as in Django's own backends; the byte that each begins with tells it
apart, so nothing is copied to put a tag before it or to cut one off.
"""

from __future__ import annotations

import pickle
from typing import Any

from django_hacache.exceptions import HACacheError

INTEGER = 1
PICKLE = pickle.PROTO[0]

_INTEGER_TAG = bytes([INTEGER])
_dumps, _loads, _PROTOCOL = pickle.dumps, pickle.loads, pickle.HIGHEST_PROTOCOL


class EncodingError(HACacheError, ValueError):
    """Stored bytes begin with a tag that this version does not know."""


def encode(value: Any) -> bytes:
    """Return the bytes of a value. Raises whatever pickle raises where the value cannot be pickled."""
    if type(value) is int:
        return _INTEGER_TAG + integer_to_bytes(value)
    return _dumps(value, _PROTOCOL)


def decode(data: bytes | memoryview) -> Any:
    """Return the value that `encode` was given.

    Raises EncodingError where the first byte is no tag, and whatever pickle raises.
    """
    if data:
        tag = data[0]
        if tag == PICKLE:
            return _loads(data)
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
