"""How keys, entries and database names are laid out in LMDB. Knows bytes only, opens nothing.

Each cache has one database: replica key -> expires_at, version (little endian u64 each), value. There is no
index beside it: what has expired and what is old is found by looking at a few entries with each write (see
eviction.py). An index of either kind would cost every write as much as the entry itself.
"""

from __future__ import annotations

from hashlib import sha256
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is a class
from typing import NamedTuple

from django_hacache.exceptions import ReplicaError

MAX_KEY_BYTES = 511
"""LMDB's own limit."""

HASHED = b"\xff"
"""First byte of a replica key that is not the key itself: no UTF-8 text contains it."""

HEADER = Struct("<QQ")
HEADER_BYTES = HEADER.size
ENDED = (1, 0)
"""The header of what has none, since it is too short for an entry: it ended when this machine was booted."""
NUMBER_KEY = Struct(">Q")
"""A number as a key: big endian, so that LMDB keeps them in order."""

FORMAT = b"\x02"
"""Names this layout: a replica of another one is void, as one of another boot."""

ENTRIES = b"entries:"
META, LOG, REQUESTS = b"journal.meta", b"journal.log", b"journal.requests"
HOST = b"replica.host"
FIXED = (META, LOG, REQUESTS, HOST)

MAX_CACHES = 64
MAX_DATABASES = MAX_CACHES + len(FIXED)
MAX_NAME_BYTES = 255


class Entry(NamedTuple):
    """One stored entry, as a snapshot carries it."""

    key: bytes
    value: bytes
    version: int
    expires_at: int


def header_of(raw: bytes | memoryview) -> tuple[int, int]:
    """When what is stored as `raw` expires, and its version."""
    try:
        return HEADER.unpack_from(raw)
    except StructError:
        return ENDED


def replica_key(key: str) -> bytes:
    """The bytes under which `key` is stored: its UTF-8, or a marked SHA-256 where LMDB could not hold it."""
    encoded = key.encode()
    if 0 < len(encoded) <= MAX_KEY_BYTES:
        return encoded
    return HASHED + sha256(encoded).digest()


def can_name_cache(encoded: bytes) -> bool:
    """Whether it is 1 to MAX_NAME_BYTES bytes of UTF-8 without NUL."""
    try:
        encoded.decode()
    except UnicodeDecodeError:
        return False
    return 0 < len(encoded) <= MAX_NAME_BYTES and b"\0" not in encoded


def cache_name_bytes(cache: str) -> bytes:
    """The part of a database's name that tells the caches apart; ReplicaError where it cannot be one."""
    encoded = cache.encode()
    if not can_name_cache(encoded):
        raise ReplicaError(
            f"{cache!r} cannot name a cache: 1 to {MAX_NAME_BYTES} bytes of UTF-8 without NUL are expected"
        )
    return encoded
