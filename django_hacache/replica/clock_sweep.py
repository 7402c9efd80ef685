"""Sweeps go round the entries of a cache, as the hands of a clock do, and look at a few at a time.

They find what has expired and what is old without an index of either: each step goes on where the last one, of
whatever process, ended. They decide nothing and remove nothing.
"""

from __future__ import annotations

from itertools import islice, takewhile
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is a class
from typing import TYPE_CHECKING, NamedTuple

from django_hacache.replica.layout import header_of

if TYPE_CHECKING:
    import lmdb

OLD_SHARE = 8
SAMPLES_MAX = 128
SAMPLE_EVERY = 16  # entries, at the beginning of a round

_header = header_of
_EXPIRES_AT = Struct("<Q")  # how a header begins
_STATE = Struct("<QQIH")  # horizon, entries left in this round, one sample of so many, number of samples


class SweptEntry(NamedTuple):
    """What a step needs to know of an entry."""

    version: int
    expires_at: int
    key: bytes
    size: int  # of key and value, in bytes

    def expired(self, now_ns: int) -> bool:
        return 0 < self.expires_at <= now_ns


class ClockSweep:
    """A sweep: where the last step ended, a cursor to go on from there, and samples of the versions that it met.

    About one entry of OLD_SHARE has a version up to `horizon`, by the samples of the last whole round. The entries of
    one step say little of the others: neighbours by key may have been written together.
    """

    def __init__(self, cursor: lmdb.Cursor[bytes | memoryview], state: bytes) -> None:
        """`state` is what `state()` returned after the last step, empty before the first one."""
        self._cursor = cursor
        known = _STATE.unpack_from(state) if state else (0, 0, SAMPLE_EVERY, 0)
        self.horizon, self._left, self._sample_every, count = known
        end = _STATE.size + 8 * count
        self._samples = list(memoryview(state)[_STATE.size : end].cast("Q"))
        # The key of the next entry to look at, whether it is still there or not.
        self._next_key = state[end:]

    def state(self) -> bytes:
        """Return what the next step has to know."""
        samples = b"".join(sample.to_bytes(8, "little") for sample in self._samples)
        known = _STATE.pack(self.horizon, self._left, self._sample_every, len(self._samples))
        return known + samples + self._next_key

    def look(self, looks: int) -> list[SweptEntry]:
        """The next `looks` entries, going on at the beginning after the end; all of them where there are fewer."""
        cursor = self._cursor
        began = self._next_key
        found = cursor.set_range(began)
        seen = [_swept(key, raw) for key, raw in islice(cursor.iternext(), looks)] if found else []
        if len(seen) < looks:
            self._end_round()
            if cursor.first():
                before = takewhile(lambda entry: bytes(entry[0]) < began, cursor.iternext())
                seen += [_swept(key, raw) for key, raw in islice(before, looks - len(seen))]
        self._rest()
        return seen

    def expired(self, now_ns: int, looks: int) -> list[SweptEntry]:
        """The entries that have expired at `now_ns`, of the next `looks`; it stops at the end."""
        cursor = self._cursor
        if not cursor.set_range(self._next_key) and not cursor.first():
            return []
        some = islice(cursor.iternext(), looks)
        # Without a frame of Python for each: a busy leader looks at thousands in a second.
        ends = _EXPIRES_AT.unpack_from
        try:
            found = [_swept(key, raw) for key, raw in some if 0 < ends(raw)[0] <= now_ns]
        except StructError:
            # One of these is too short for an entry.
            cursor.set_range(self._next_key) or cursor.first()
            some = islice(cursor.iternext(), looks)
            found = [_swept(key, raw) for key, raw in some if 0 < _header(raw)[0] <= now_ns]
        self._rest()
        return found

    def leave(self, staying: list[SweptEntry]) -> None:
        """Note the versions of some of the entries that were looked at and stay."""
        first = -self._left % self._sample_every
        self._samples += [one.version for one in staying[first :: self._sample_every]]
        self._left += len(staying)
        while len(self._samples) > SAMPLES_MAX:
            del self._samples[1::2]
            self._sample_every *= 2

    def _end_round(self) -> None:
        if self._samples:
            self.horizon = sorted(self._samples)[len(self._samples) // OLD_SHARE]
        self._left, self._samples, self._sample_every = 0, [], SAMPLE_EVERY

    def _rest(self) -> None:
        self._next_key = bytes(self._cursor.key()) if self._cursor.next() else b""


def _swept(key: bytes | memoryview, raw: bytes | memoryview) -> SweptEntry:
    expires_at, version = _header(raw)
    return SweptEntry(version, expires_at, bytes(key), len(key) + len(raw))
