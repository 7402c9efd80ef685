"""The hand that goes round the entries of a cache, as a clock's does, and looks at a few at a time.

It finds what has expired and what is old without an index of either: each step goes on where the last one, of
whatever process, ended. Decides nothing and removes nothing.
"""

from __future__ import annotations

from itertools import islice, takewhile
from typing import TYPE_CHECKING, NamedTuple

from django_hacache.replica.layout import HEADER

if TYPE_CHECKING:
    import lmdb

_header = HEADER.unpack_from


class Sight(NamedTuple):
    """What a step needs to know of an entry."""

    version: int
    expires_at: int
    key: bytes
    size: int  # of key and value, in bytes


class Hand:
    """Where the last step ended, and a cursor to go on from there."""

    def __init__(self, cursor: lmdb.Cursor[memoryview], place: bytes) -> None:
        """`place` is the key of the next entry to look at, whether it is still there or not."""
        self._cursor = cursor
        self.place = place

    def look(self, looks: int) -> list[Sight]:
        """The next `looks` entries, going on at the beginning after the end; all of them where there are fewer."""
        cursor = self._cursor
        began = self.place
        found = cursor.set_range(began)
        seen = [_sight(key, raw) for key, raw in islice(cursor.iternext(), looks)] if found else []
        if len(seen) < looks and cursor.first():
            before = takewhile(lambda entry: bytes(entry[0]) < began, cursor.iternext())
            seen += [_sight(key, raw) for key, raw in islice(before, looks - len(seen))]
        self._rest()
        return seen

    def expired(self, now_ns: int, looks: int) -> list[bytes]:
        """The keys of the entries that have expired at `now_ns`, of the next `looks`; it stops at the end."""
        cursor = self._cursor
        if not cursor.set_range(self.place) and not cursor.first():
            return []
        some = islice(cursor.iternext(), looks)
        found = [bytes(key) for key, raw in some if 0 < _header(raw)[0] <= now_ns]
        self._rest()
        return found

    def _rest(self) -> None:
        self.place = bytes(self._cursor.key()) if self._cursor.next() else b""


def _sight(key: memoryview, raw: memoryview) -> Sight:
    expires_at, version = _header(raw)
    return Sight(version, expires_at, bytes(key), len(key) + len(raw))
