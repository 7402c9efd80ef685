"""Values as bytes. Must not know a cache or a replica.

An int is stored as one tag byte and its two's complement, so that the leader of a cluster can add to it without
unpickling anything. Every other value is a pickle, as in Django's own backends. A pickle begins with a byte that is no
tag, so none is put before it, and nothing is copied.

The node puts a mark before the bytes of a program outside the site: they are stored and given back as they came, and no
worker takes them for a value. A signed value has a mark, too: see signing.py.
"""

from __future__ import annotations

import pickle
from typing import Any

from django_hacache.exceptions import HACacheError

FOREIGN = 0
INTEGER = 1
SIGNED = 2
# The largest integer that the leader adds to, or adds. incr() changes a larger one as it does a float: by swapping it.
INTEGER_BYTES_MAX = 1024
PICKLE = pickle.PROTO[0]

_FOREIGN_MARK = bytes([FOREIGN])
_INTEGER_TAG = bytes([INTEGER])
dumps, loads, HIGHEST_PROTOCOL = pickle.dumps, pickle.loads, pickle.HIGHEST_PROTOCOL


class EncodingError(HACacheError, ValueError):
    """Stored bytes are no value: their tag is unknown to this version, or another program wrote them."""


def encode(value: Any) -> bytes:
    """Return the bytes of a value. Raises what pickle raises."""
    if type(value) is int:
        return _INTEGER_TAG + integer_to_bytes(value)
    return dumps(value, HIGHEST_PROTOCOL)


def decode(data: bytes | memoryview) -> Any:
    """Return the value that `encode` was given. Raises EncodingError where it is none, and what pickle raises."""
    if data:
        tag = data[0]
        if tag == PICKLE:
            return loads(data)
        if tag == INTEGER:
            return integer_from_bytes(data[1:])
        if tag == FOREIGN:
            raise EncodingError("The bytes of a program outside the site are no value.")
        if tag == SIGNED:
            raise EncodingError("It is signed, and SIGNING_KEYS is not set.")
    raise EncodingError(f"A stored value begins with {bytes(data[:1])!r}; {INTEGER} or {PICKLE} is expected.")


def decode_integer(data: bytes | memoryview) -> int | None:
    """Return the value where it is an integer that the leader can add to, None for any other."""
    if 1 < len(data) <= 1 + INTEGER_BYTES_MAX and data[0] == INTEGER:
        return integer_from_bytes(data[1:])
    return None


def may_be_added(delta: Any) -> bool:
    """Whether the leader can add `delta` to an integer."""
    return type(delta) is int and delta.bit_length() < 8 * INTEGER_BYTES_MAX


def marked_foreign(data: bytes) -> bytes:
    """Return the bytes of a program outside the site as they are stored."""
    return _FOREIGN_MARK + data


def without_mark(data: bytes | memoryview) -> bytes:
    """Return the bytes that such a program is given: its own as they came, a value of ours as it is stored."""
    return bytes(data[1:] if len(data) and data[0] == FOREIGN else data)


def integer_to_bytes(value: int) -> bytes:
    """Return two's complement, big endian, in as few whole bytes as hold it with its sign."""
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def integer_from_bytes(data: bytes | memoryview) -> int:
    return int.from_bytes(data, "big", signed=True)
