"""What a simulated host keeps when its process ends, changed by whole Readies only."""

from __future__ import annotations

from random import Random

from django_hacache.consensus.formation import fresh_state
from django_hacache.consensus.messages import Entry, Generation
from django_hacache.consensus.requests import RequestTable
from django_hacache.consensus.state import HardState, Ready

from .kv import Contents

PAGE_BYTES = 64


class DiskFull(Exception):
    """Nothing was stored: the map or the file system has no room left."""


class Snapshot:
    """The applied state of a leader at one index, as it crosses the network, with what is left of times to live."""

    def __init__(self, disk: Disk, term: int, now: int) -> None:
        self.index, self.term = disk.applied, term
        self.contents = disk.contents.copy()
        self.left = {key: max(end - now, 0) for key, end in disk.contents.ends.items()}
        table = disk.requests_up_to_applied()
        self.requests, self.floor = table.items(), table.floor


class Disk:
    def __init__(self, rng: Random, request_table: int, request_table_bytes: int) -> None:
        self.hard: HardState = fresh_state(rng)
        # A new node stores its identity with the first thing that it stores: until then each start is another one.
        self.identified = False
        # What the file system still has, where somebody else has filled it: bytes.
        self.room: int | None = None
        self.base = (0, 0)
        self.entries: list[Entry] = []
        self.applied = 0
        self.contents = Contents()
        # Those that the log has dropped.
        self.requests = RequestTable(request_table, request_table_bytes)
        self._limits = request_table, request_table_bytes

    def persist(self, ready: Ready, unstored: list[Entry]) -> None:
        """One transaction, in the order that Ready documents; `unstored` is what earlier ones could wait for.

        Raises DiskFull, and nothing is stored then.
        """
        self._take_room(ready, unstored)
        self.identified = True
        if ready.reset_log is None:
            self._append(unstored)
        if ready.empty_replica:
            self.empty()
            self.applied = 0
        if ready.reset_log is not None:
            self.base = ready.reset_log
            self.entries.clear()
        if ready.truncate_from is not None:
            del self.entries[ready.truncate_from - self.base[0] - 1 :]
        self._append(ready.entries)
        for entry in ready.apply:
            assert entry.index == self.applied + 1, f"applied {entry.index} after {self.applied}"
            self.applied = entry.index
            self.contents.apply(entry.effect, entry.born)
        if ready.compact_to is not None and ready.compact_to > self.base[0]:
            term = self.term_at(ready.compact_to)
            assert term is not None, "compaction past the end of the log"
            for entry in self.entries[: ready.compact_to - self.base[0]]:
                self.requests.record(entry)
            del self.entries[: ready.compact_to - self.base[0]]
            self.base = (ready.compact_to, term)
        if ready.hard_state is not None:
            self.hard = ready.hard_state

    def _take_room(self, ready: Ready, unstored: list[Entry]) -> None:
        if self.room is None:
            return
        # Whatever is changed takes a page first, and gives it back.
        needed = sum(entry.size for entry in (*unstored, *ready.entries))
        if needed + PAGE_BYTES > self.room:
            raise DiskFull
        self.room -= needed

    def _append(self, entries: list[Entry]) -> None:
        for entry in entries:
            assert entry.index == self.base[0] + len(self.entries) + 1, "the stored log has a gap"
            self.entries.append(entry)

    def requests_up_to_applied(self) -> RequestTable:
        """The table of recent requests: those that the log has dropped, and those in it."""
        table = RequestTable(*self._limits, self.requests.items(), self.requests.floor)
        for entry in self.entries[: self.applied - self.base[0]]:
            table.record(entry)
        return table

    def empty(self) -> None:
        self.contents = Contents()
        self.requests.clear()

    def install(self, snapshot: Snapshot, now: int) -> None:
        self.contents = snapshot.contents.copy()
        self.contents.ends = {key: now + left for key, left in snapshot.left.items()}
        self.requests.replace(snapshot.requests, snapshot.floor)
        self.applied = snapshot.index

    def term_at(self, index: int) -> int | None:
        position = index - self.base[0]
        if position == 0:
            return self.base[1]
        return self.entries[position - 1].term if 0 < position <= len(self.entries) else None

    def holds(self, generation: Generation | None, index: int, term: int) -> bool:
        """Whether this is a member of the generation that holds the entry, in its log or its replica."""
        if self.hard.generation != generation or self.hard.fresh:
            return False
        return index <= self.base[0] or self.term_at(index) == term
