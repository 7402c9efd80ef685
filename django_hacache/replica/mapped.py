"""How long an environment's map is, and how it becomes longer while threads of this process read and write.

Knows nothing of keys and caches, and opens nothing: environment.py does.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
from typing import TYPE_CHECKING, NoReturn

import lmdb

from django_hacache.exceptions import ReplicaError
from django_hacache.replica import reserved
from django_hacache.replica.pair import FILE_NAME
from django_hacache.system.directory import open_private
from django_hacache.system.interruption import ensure_own
from django_hacache.system.platform import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from django_hacache.replica.opening import Membership
    from django_hacache.system.directory import Identity

PAGE_BYTES = mmap.PAGESIZE
REMAP_WAIT_S = 10.0


class Mapped:
    """The part of an Environment that its map is."""

    lmdb: lmdb.Environment
    directory: Path
    path: Path
    identity: Identity | None
    _membership: Callable[[], Membership | None]

    reserved = False
    """Whether its file is as reserved.py says: its map is as long as the file, and may be written to."""

    def __init__(self, most_bytes: int) -> None:
        self._map_bytes = self._most_bytes = most_bytes
        # Whoever writes has it, so that no thread of this process does while the map is exchanged.
        self.writing = threading.RLock()
        self._remapping = threading.Lock()

    def errors(self) -> AbstractContextManager[None]:
        """Turn LMDB's errors into those of this package."""
        raise NotImplementedError

    def growth_bytes(self) -> int:
        """How much the file system lets the file still grow."""
        try:
            found = os.statvfs(self.directory)
        except FileNotFoundError as error:
            ensure_own(error)
            return self.lmdb.info()["map_size"]  # wiped: the next look at the path opens it anew
        allocated = self._map_bytes - self.file_bytes() if self.reserved else 0
        return found.f_bavail * found.f_frsize + allocated

    def file_bytes(self) -> int:
        """How much of the file LMDB has taken so far; it never gives any back."""
        return (self.lmdb.info()["last_pgno"] + 1) * PAGE_BYTES

    def lengths(self) -> tuple[int, int]:
        """The longest that the file may become, and how long it is, in bytes."""
        known = self.lmdb.info()
        longest = self._most_bytes if self.reserved else known["map_size"]
        return longest, (known["last_pgno"] + 1) * PAGE_BYTES

    def grow(self, by: int) -> bool:
        """Let the file become longer by so many bytes; False while this process reads. Other processes follow."""
        with self._remapping:
            if self._reads_of_this_process():
                return False
            with self.errors():
                self._map_bytes = self.lmdb.info()["map_size"] + by
                self.lmdb.set_mapsize(self._map_bytes)
            return True

    def has_room_after(self, error: Exception) -> bool:
        """Whether there is room for what has failed with `error`, since the file has become longer."""
        full = isinstance(error, lmdb.MapFullError) or isinstance(error.__cause__, lmdb.MapFullError)
        return self.reserved and full and self._lengthen()

    def _lengthen(self) -> bool:
        """Make a reserved file and its map longer; False where there is no room for that."""
        with self.writing:
            self.await_map()
            with self._remapping:
                if self._length(beyond=self._map_bytes) <= self._map_bytes:
                    return False
                setattr(self, "begin", self._begin_later)  # noqa: B010 - its type has overloads
                try:
                    self._await_reads("has to become longer")
                    self._length(map_it=True)
                finally:
                    setattr(self, "begin", self.lmdb.begin)  # noqa: B010
                return True

    def _begin_later(self, *_: object) -> NoReturn:
        """In the place of `begin` while the map is exchanged: reads that come now wait, those under way end."""
        raise lmdb.Error("another thread exchanges the map")

    def _await_reads(self, why: str) -> None:
        deadline = monotonic() + REMAP_WAIT_S
        while self._reads_of_this_process():
            if monotonic() > deadline:
                raise ReplicaError(
                    f"the replica {self.path} {why} and a long read keeps this process from following"
                )
            time.sleep(0.0005)

    def _length(self, *, beyond: int = 0, map_it: bool = False) -> int:
        """How long a reserved file is, made longer where it is not longer than `beyond`; mapped with `map_it`."""
        membership = self._membership()
        if membership is None:
            raise ReplicaError(f"the replica {self.path} was closed while it was in use")
        # LMDB gives the file the length of the map: it must not become longer between.
        with self.errors(), open_private(self.directory) as directory, membership.opening():
            if directory.identity_of(FILE_NAME) != self.identity:
                raise ReplicaError(f"the replica {self.path} was replaced while it was in use")
            length = reserved.lengthened(directory, beyond=beyond, most=self._most_bytes)
            if map_it:
                self.lmdb.set_mapsize(length)
                self._map_bytes = length
            return length

    def await_map(self) -> None:
        """Wait while another thread exchanges the map.

        Not for the lock: who has it may be another greenlet of this thread, and sleep.
        """
        deadline = monotonic() + REMAP_WAIT_S
        while self._remapping.locked() and monotonic() < deadline:
            time.sleep(0.0005)

    def remap(self) -> None:
        """Map as much as another process has made the file.

        Remapping under a running read would crash the process. Every read that begins now fails as this one
        did, so it is enough to wait until LMDB's reader table shows no read of ours.
        """
        self.await_map()
        with self.writing, self._remapping:
            try:
                self.lmdb.begin().abort()
            except lmdb.MapResizedError as error:
                ensure_own(error)
            else:
                return  # another thread was faster
            self._await_reads("has grown")
            if self.reserved:
                self._length(map_it=True)
                return
            with self.errors():
                self.lmdb.set_mapsize(0)

    def _reads_of_this_process(self) -> bool:
        rows = (line.split() for line in self.lmdb.readers().splitlines()[1:])
        return any(row[0] == str(os.getpid()) and row[-1] != "-" for row in rows if len(row) == 3)
