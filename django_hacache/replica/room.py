"""How much room caches take, how much a replica's file has, and how much of it has to stay free. Opens nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

HEADROOM_SHARE = 8
HEADROOM_MIN, HEADROOM_MAX = 1 << 20, 16 << 20


class Usage(NamedTuple):
    """How much a cache takes: entries that are present, expired ones included, and bytes of LMDB's pages."""

    entries: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Room:
    """How much room the file has, in bytes.

    map: the longest that LMDB's map lets the file become.
    file: how long it is; it never becomes shorter.
    used: in the pages of all databases.
    growth: by how much the file system lets it still grow.
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
        """How much can still be written: into pages that were given back, and by growing the file."""
        return max(self.file - self.used, 0) + self.beyond

    @property
    def headroom(self) -> int:
        """How much has to stay free: for removals, which take pages before they free any, and for the log's changes."""
        return min(max((self.used + self.free) // HEADROOM_SHARE, HEADROOM_MIN), HEADROOM_MAX)

    def lacking(self, wanted: int = 0) -> int:
        """Return how many bytes have to go for `wanted` bytes to be free beside the headroom."""
        return max(self.headroom + wanted - self.free, 0)
