"""Passage: how far the Append to a peer has come, to tell a slow connection from one that takes nothing.

It counts bytes only. An Append that is sent again moves once it is further than it ever was: else one that the peer
never takes would move for ever.
"""

from __future__ import annotations


class Passage:
    """The latest Append on a connection that counts its bytes in the order in which they were written."""

    def __init__(self) -> None:
        # The term and the index of the entry before it.
        self.place: tuple[int, int] | None = None
        self._start = self._end = 0
        self._furthest = 0

    def begins(self, place: tuple[int, int], start: int, end: int) -> None:
        """The Append for `place` is written as the bytes from `start` to `end`."""
        if place != self.place:
            self.place, self._furthest = place, 0
        self._start, self._end = start, end

    def goes_on(self, taken: int) -> bool:
        """Whether it is on its way still, with `taken` bytes of the connection gone."""
        return taken < self._end

    def moves(self, taken: int) -> bool:
        """Whether more of it is gone than ever before."""
        gone = min(taken, self._end) - self._start
        if gone <= self._furthest:
            return False
        self._furthest = gone
        return True

    def lost(self) -> None:
        """The connection is gone, and with it what was on its way."""
        self._start = self._end = 0
