"""What caches take, how much a replica's file can still take, and how much of that has to stay free. Opens nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

HEADROOM_SHARE = 8
HEADROOM_MIN, HEADROOM_MAX = 1 << 20, 16 << 20


class Usage(NamedTuple):
    """What a cache takes: entries that are present (expired ones included), and bytes of LMDB's pages."""

    entries: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Room:
    """What the file holds and what it may become, in bytes.

    map: the longest that the file may be.
    file: how long it is; it never becomes shorter.
    used: pages of all databases in it.
    growth: what the file system lets it still grow.
    """

    map: int
    file: int
    used: int
    growth: int

    @property
    def beyond(self) -> int:
        """By how much the file can still become longer."""
        return max(min(self.map - self.file, self.growth), 0)

    @property
    def free(self) -> int:
        """What can still be written: pages that were given back, and what the file can grow."""
        return max(self.file - self.used, 0) + self.beyond

    @property
    def headroom(self) -> int:
        """What has to stay free: a removal takes pages before it frees any, and so does what is in the order."""
        return min(max((self.used + self.free) // HEADROOM_SHARE, HEADROOM_MIN), HEADROOM_MAX)

    def lacking(self, wanted: int = 0) -> int:
        """What has to go for `wanted` bytes to be free beside the headroom."""
        return max(self.headroom + wanted - self.free, 0)
