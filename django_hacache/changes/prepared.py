"""Requests of the most frequent changes as bytes, put together from prepared parts: several times as fast as protobuf.

codec.py makes every kind of request in the readable way; a test compares the bytes of both. Knows the numbers of the
wire's fields; must not know protobuf.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from django_hacache.changes.vocabulary import Batch, Insert, Remove, When
from django_hacache.conf import AckLevel

if TYPE_CHECKING:
    from django_hacache.changes.vocabulary import Sent

# How a field begins: its number in proto/cache.proto, times eight, and the kind of what follows.
# https://protobuf.dev/programming-guides/encoding/
_INSERT, _REMOVE, _BATCH = b"\x1a", b"\x2a", b"\x9a\x01"
_TIMEOUT_MS = b"\x90\x02"
# In any change.
_CACHE_NAME, _ENTRY = b"\x0a", b"\x12"
# In an Insert.
_VALUE, _TTL_MS, _EXPECTED_VERSION, _KEEP_TTL = b"\x1a", b"\x80\x01", b"\x90\x01", b"\x98\x01\x01"
_CONDITIONS = {
    When.ALWAYS: b"",
    When.ABSENT: b"\x88\x01\x01",
    When.PRESENT: b"\x88\x01\x02",
    When.UNCHANGED: b"\x88\x01\x03",
}
# In a Batch.
_PART, _PART_INSERT, _PART_REMOVE = b"\x0a", b"\x0a", b"\x12"
_LEVELS = {
    AckLevel.QUORUM: b"\x0a\x00",
    AckLevel.ONCE: b"\x12\x00",
    AckLevel.LEADER: b"\x1a\x00",
    AckLevel.ALL: b"\x82\x01\x00",
    AckLevel.DIRECT: b"\x8a\x01\x00",
}

_ONE_BYTE = [bytes((number,)) for number in range(1 << 7)]


# The sizes and times of a site are few, and what is found here takes no step of Python.
@lru_cache(1024)
def _number(number: int) -> bytes:
    """Return a varint: seven bits a byte, the lowest first."""
    if number < 1 << 7:
        return _ONE_BYTE[number]
    if number < 1 << 14:
        return bytes((number & 0x7F | 0x80, number >> 7))
    return bytes((number & 0x7F | 0x80,)) + _number(number >> 7)


def _field(begin: bytes, content: bytes) -> bytes:
    """Return a field with its length; nothing where the content is empty, as protobuf has it."""
    return b"".join((begin, _number(len(content)), content)) if content else b""


class _Name:
    """Makes the fields req_id and ack_level, which stand beside each other in every message."""

    def __init__(self, number: int) -> None:
        self._req_id = _ONE_BYTE[number << 3 | 2]
        level = _ONE_BYTE[(number + 1) << 3 | 2]
        self._levels = {ack: _field(level, content) for ack, content in _LEVELS.items()}

    def __call__(self, req_id: str, ack: AckLevel) -> bytes:
        name = req_id.encode()
        return b"".join((self._req_id, _number(len(name)), name, self._levels[ack]))


_named_2, _named_3, _named_4 = _Name(2), _Name(3), _Name(4)


class Requests:
    """The requests for one cache."""

    __slots__ = ("_cache",)

    def __init__(self, cache: str) -> None:
        self._cache = _field(_CACHE_NAME, cache.encode())

    def payload_of(self, change: Sent, *, req_id: str, ack: AckLevel, timeout_ms: int) -> bytes | None:
        """Return the whole request; None for a kind of change that codec.py has to make."""
        match change:
            case Insert():
                method, content = _INSERT, self._insert(change, _named_4(req_id, ack))
            case Remove():
                method, content = _REMOVE, self._entry(change.key) + _named_3(req_id, ack)
            case Batch():
                parts = b"".join([self._part(part) for part in change.changes])
                method, content = _BATCH, parts + _named_2(req_id, ack)
            case _:
                return None
        return b"".join((method, _number(len(content)), content, _TIMEOUT_MS, _number(timeout_ms)))

    def _entry(self, key: str) -> bytes:
        return self._cache + _field(_ENTRY, key.encode())

    def _insert(self, change: Insert, name: bytes) -> bytes:
        key, value, ttl_ms, when, version, keep_ttl = change
        entry = key.encode()
        parts = [self._cache]
        if entry:
            parts += (_ENTRY, _number(len(entry)), entry)
        if value:
            parts += (_VALUE, _number(len(value)), value)
        parts.append(name)
        if ttl_ms is not None:
            parts += (_TTL_MS, _number(ttl_ms))
        if when is not When.ALWAYS:
            parts.append(_CONDITIONS[when])
            if version:
                parts += (_EXPECTED_VERSION, _number(version))
        if keep_ttl:
            parts.append(_KEEP_TTL)
        return b"".join(parts)

    def _part(self, change: Insert | Remove) -> bytes:
        if isinstance(change, Insert):
            content = _field(_PART_INSERT, self._insert(change, b""))
        else:
            content = _field(_PART_REMOVE, self._entry(change.key))
        return _field(_PART, content)
