"""The interface that cache operations read through, on one machine and in a cluster. Must not open anything."""

from __future__ import annotations

from struct import error as StructError  # noqa: N812 - it is a class
from typing import TYPE_CHECKING, Protocol

from django_hacache.replica.layout import HEADER, HEADER_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django_hacache.replica.transaction import Item

VIEW_BYTES = 64 * 1024
"""Values from this size on are handed out as a memoryview of the bytes read, to save a second copy."""

_header = HEADER.unpack_from


class Reader(Protocol):
    """A Replica, or a LeasedReader in a cluster."""

    def get(self, cache: str, key: str) -> bytes | memoryview | None: ...
    def get_many(self, cache: str, keys: Iterable[str]) -> dict[str, bytes | memoryview]: ...
    def has(self, cache: str, key: str) -> bool: ...
    def item(self, cache: str, key: str) -> Item | None: ...


def live_value(raw: bytes, now_ns: int) -> bytes | memoryview | None:
    """Return the value of the entry stored as `raw`, None where it has expired at `now_ns`.

    now_ns: an instant (boot time) after the entry was read.
    """
    try:
        if 0 < _header(raw)[0] <= now_ns:
            return None
    except StructError:
        return None  # too short to be an entry
    return raw[HEADER_BYTES:] if len(raw) < VIEW_BYTES else memoryview(raw)[HEADER_BYTES:]
