"""RoomMaker: stores to this host's replica; where that is full it makes room, and stores again.

What is committed has to be applied, however full this host is. So the map grows, as long as the file system has room
for it. Where it has none, entries are dropped on this host alone, before the last pages are taken: they are misses
here, as if they had been evicted. Knows no log and no consensus.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from django_hacache.exceptions import ReplicaFull
from django_hacache.node.log_throttle import LogThrottle
from django_hacache.node.storage.reserve import Reserve
from django_hacache.replica.eviction import MAP_HEADROOM_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django_hacache.replica.replica import Replica
    from django_hacache.replica.room import Room

logger = logging.getLogger("django_hacache.node")

# Below this share of the headroom entries are dropped here. A leader keeps all of it free on its own host, and lets
# writers wait from a half on.
DROP_SHARE = 4
# A look at the room comes with so many writes, or with this share of the headroom in bytes.
LOOK_WRITES = 256
LOOK_SHARE = 16
# Neighbours are dropped together, since that frees pages: so many at a time, in transactions of so many.
DROP_KEYS = 1024
STEPS = (64, 8, 1)
# LMDB gives pages that a transaction freed to the second one after it.
COMMITS_UNTIL_FREE = 2


class RoomMaker:
    """Carries writes out, each a transaction of its own that can be tried again."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._reserve = Reserve(replica.directory)
        self._throttle = LogThrottle(logger)
        self._sweeps: dict[bytes, bytes] = {}
        self._writes = LOOK_WRITES
        self._bytes_left = 0

    def prepare(self) -> None:
        """Take the reserve."""
        self._reserve.fill()

    def store(self, write: Callable[[], None], size: int) -> None:
        """Carry out `write`, about so many bytes. Raises ReplicaFull where not even empty caches leave room for it."""
        self._writes += 1
        self._bytes_left -= size
        if self._writes >= LOOK_WRITES or self._bytes_left < 0:
            self._look(size)
        try:
            write()
        except ReplicaFull as error:
            self._store_after(error, write)

    def _look(self, size: int) -> None:
        room = self._room()
        self._writes, self._bytes_left = 0, room.headroom // LOOK_SHARE
        least = room.headroom // DROP_SHARE + size
        if room.free < least and room.growth < least:
            self._throttle.say(
                "drops",
                f"the file system of the replica in {self._replica.directory} is full: entries are dropped, on this "
                "host alone; they are misses here",
            )
            self._drop(2 * least)

    def _room(self) -> Room:
        with self._replica.snapshot() as reading:
            return reading.room()

    def _store_after(self, full: ReplicaFull, write: Callable[[], None]) -> None:
        self._reserve.release()
        for _ in self._ways(full):
            try:
                write()
            except ReplicaFull as error:
                full = error
            else:
                self._reserve.fill()
                return
        raise full

    def _ways(self, full: ReplicaFull) -> Iterator[None]:
        """Make more room, step by step: the caller tries after each."""
        while self._replica.grow(MAP_HEADROOM_BYTES):
            self._throttle.say("grows", f"{full}: it may grow by {MAP_HEADROOM_BYTES >> 20} MiB")
            yield
        self._throttle.say("full", f"{full}: entries are dropped, on this host alone; they are misses here")
        headroom = self._room().headroom
        for wanted in (headroom // DROP_SHARE, headroom, 2 * headroom):
            self._drop(wanted)
            yield
        self._drop_all()
        yield

    def _drop(self, wanted: int) -> None:
        """Drop entries of each cache until so many bytes are free, or no more can be dropped."""
        while (lacking := wanted - self._room().free) > 0:
            if not self._drop_some(lacking):
                return
            self._free()

    def _drop_some(self, lacking: int) -> bool:
        """Drop neighbours that take about so many bytes; whether some went."""
        with self._replica.snapshot(views=True) as reading:
            reading.sweeps = self._sweeps
            used = {cache: reading.usage(cache) for cache in reading.caches()}
            total = max(sum(one.bytes for one in used.values()), 1)
            share = min(lacking / total, 1.0)
            chosen = {
                cache: reading.neighbours(cache, min(int(one.entries * share) + 1, DROP_KEYS))
                for cache, one in used.items()
                if one.entries
            }
        return sum(self._remove(cache, keys) for cache, keys in chosen.items()) > 0

    def _remove(self, cache: str, keys: list[bytes]) -> int:
        """Remove them in small transactions: a removal takes pages before it frees any. How many went."""
        gone, steps = 0, list(STEPS)
        while keys and steps:
            piece = keys[: steps[0]]
            try:
                with self._replica.write() as transaction:
                    gone += transaction.remove_keys(cache, piece)
            except ReplicaFull:
                steps.pop(0)
            else:
                keys = keys[len(piece) :]
        return gone

    def _drop_all(self) -> None:
        try:
            with self._replica.write() as transaction:
                transaction.empty()
            self._free()
        except ReplicaFull:
            return  # the write that follows says so

    def _free(self) -> None:
        """Let LMDB have the pages of what was removed."""
        for number in range(COMMITS_UNTIL_FREE):
            with self._replica.write() as transaction:
                transaction.set_host_mark(b"room", bytes([number]))
