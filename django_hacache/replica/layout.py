"""The layout of keys, entries and database names in LMDB. Must not open anything.

Each cache has one database: replica key -> expires_at, version (little endian u64 each), value. There is no index of
what has expired or is old: it would cost every write as much as the entry itself. eviction.py finds those entries by
looking at a few with each write.
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
"""The header taken for bytes that are too short for an entry: one that expired when this machine was booted."""
NUMBER_KEY = Struct(">Q")
"""A number as a key: big endian, so that LMDB keeps them in order."""

FORMAT = b"\x02"
"""The name of this layout: a replica of another layout is void, as one of another boot is."""

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
    """Return when the entry stored as `raw` expires (boot time, ns; NEVER), and its version."""
    try:
        return HEADER.unpack_from(raw)
    except StructError:
        return ENDED


def replica_key(key: str) -> bytes:
    """Return the bytes under which `key` is stored: its UTF-8, or a marked SHA-256 where that is too long for LMDB."""
    encoded = key.encode()
    if 0 < len(encoded) <= MAX_KEY_BYTES:
        return encoded
    return HASHED + sha256(encoded).digest()


def can_name_cache(encoded: bytes) -> bool:
    """Whether these bytes can name a cache: 1 to MAX_NAME_BYTES of UTF-8 without NUL."""
    try:
        encoded.decode()
    except UnicodeDecodeError:
        return False
    return 0 < len(encoded) <= MAX_NAME_BYTES and b"\0" not in encoded


def cache_name_bytes(cache: str) -> bytes:
    """Return the cache's name as part of a database's name. Raises ReplicaError where it cannot be one."""
    encoded = cache.encode()
    if not can_name_cache(encoded):
        raise ReplicaError(
            f"{cache!r} cannot name a cache: 1 to {MAX_NAME_BYTES} bytes of UTF-8 without NUL are expected"
        )
    return encoded
