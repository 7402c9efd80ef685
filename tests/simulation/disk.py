"""What a simulated host keeps when its process ends, changed by whole Readies only."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from django_hacache.consensus.dedup import Recorded, RequestTable
from django_hacache.consensus.hard_state import HardState, Installing, fresh_state
from django_hacache.consensus.messages import Entry, Generation, Since
from django_hacache.consensus.ready import Ready
from django_hacache.consensus.transfer import Part

from .kv import Contents, set_effect

# A place after every key; after it come the requests.
ALL_KEYS = b"\xff"
ITEMS_IN_PART = 2
REQUESTS_IN_PART = 100

PAGE_BYTES = 64


class DiskFull(Exception):
    """Nothing was stored: the map or the file system has no room left."""


class Carried(NamedTuple):
    """A part of a leader's replica, as it crosses the network: some keys, or after the last key some requests."""

    part: Part
    # Of each key its value, its padding, and what is left of its time to live; None: it has none.
    items: dict[str, tuple[int, int, int | None]]
    dropped: dict[str, int]
    requests: list[tuple[str, Recorded]]


def read_part(disk: Disk, after: bytes, now: int) -> Carried:
    """What comes after the place `after`, as it is now."""
    contents, index = disk.contents, disk.applied
    if not after.startswith(ALL_KEYS):
        known = (*contents.values, *contents.dropped)
        keys = sorted(key for key in known if key.encode() > after)[:ITEMS_IN_PART]
        upto = keys[-1].encode() if len(keys) == ITEMS_IN_PART else ALL_KEYS
        dropped = {key: contents.dropped[key] for key in keys if key in contents.dropped}
        items = {
            key: (
                contents.values[key],
                contents.padding[key],
                max(contents.ends[key] - now, 0) if key in contents.ends else None,
            )
            for key in keys
            if key not in dropped
        }
        return Carried(Part(after, upto, index), items, dropped, [])
    table = disk.requests_up_to_applied()
    sent, until = map(int, (after.removeprefix(ALL_KEYS) or f"0 {index}".encode()).split())
    requests = [one for one in table.items() if sent < one[1].index <= until]
    last = len(requests) <= REQUESTS_IN_PART
    requests = requests[:REQUESTS_IN_PART]
    upto = ALL_KEYS + f"{requests[-1][1].index if requests else sent} {until}".encode()
    return Carried(Part(after, upto, index, last, table.floor), {}, {}, requests)


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
        # Those that the log has dropped, or that came with the leader's replica.
        self.requests = RequestTable(request_table, request_table_bytes)
        self._limits = request_table, request_table_bytes

    @property
    def since(self) -> Since:
        """What workers find in the control page."""
        generation = self.hard.generation
        return Since(max(self.applied, 1), 0 if generation is None else generation.mark)

    def persist(
        self,
        ready: Ready,
        unstored: list[Entry],
        installing: Installing | None,
        carried: tuple[Carried, int] | None = None,
    ) -> None:
        """One transaction, in the order that Ready documents; `unstored` is what earlier ones could wait for.

        carried: a part that has come, and when. Raises DiskFull, and nothing is stored then.
        """
        self._take_room(ready, unstored)
        self.identified = True
        if ready.reset_log is None:
            self._append(unstored)
        else:
            self.contents = Contents()
            self.requests.clear()
            self.base = ready.reset_log
            self.applied = self.base[0]
            self.entries.clear()
        if carried is not None:
            self._store(*carried)
        if ready.truncate_from is not None:
            del self.entries[ready.truncate_from - self.base[0] - 1 :]
        self._append(ready.entries)
        for entry in ready.apply:
            assert entry.index == self.applied + 1, f"applied {entry.index} after {self.applied}"
            self.applied = entry.index
            position = None if installing is None else installing.position
            self.contents.apply(entry.effect, entry.born_ms, position)
        if ready.compact_to is not None and ready.compact_to > self.base[0]:
            term = self.term_at(ready.compact_to)
            assert term is not None, "compaction past the end of the log"
            for entry in self.entries[: ready.compact_to - self.base[0]]:
                self.requests.record(entry)
            del self.entries[: ready.compact_to - self.base[0]]
            self.base = (ready.compact_to, term)
        if ready.hard_state is not None:
            self.hard = ready.hard_state

    def drop(self, share: float) -> bool:
        """Drop a share of what the caches hold, on this host alone; whether there was anything."""
        contents = self.contents
        keys = list(contents.values)[: int(len(contents.values) * share + 0.5)]
        before = contents.bytes
        contents.drop(keys)
        if self.room is not None:
            self.room += before - contents.bytes
        return bool(keys)

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

    def _store(self, carried: Carried, now: int) -> None:
        for key, (value, padding, left) in carried.items.items():
            self.contents.apply(set_effect(key, value, padding=padding))
            if left is not None:
                self.contents.ends[key] = now + left
        for key, value in carried.dropped.items():
            self.contents.take_as_dropped(key, value)
        if carried.requests or carried.part.last:
            self.requests.replace(*self.requests_with(carried))

    def requests_with(self, carried: Carried) -> tuple[list[tuple[str, Recorded]], int]:
        """The requests that have come, with those of one more part, oldest first."""
        known = {**dict(self.requests.items()), **dict(carried.requests)}
        floor = max(carried.part.floor if carried.part.last else 0, self.requests.floor)
        return sorted(known.items(), key=lambda one: one[1].index), floor

    def term_at(self, index: int) -> int | None:
        position = index - self.base[0]
        if position == 0:
            return self.base[1]
        return self.entries[position - 1].term if 0 < position <= len(self.entries) else None

    def holds(self, generation: Generation | None, index: int, term: int) -> bool:
        """Whether this is a member of the generation that holds the entry, in its log or its replica.

        What a member with an incomplete replica has does not count.
        """
        if self.hard.generation != generation or self.hard.fresh or self.hard.installing is not None:
            return False
        return index <= self.base[0] or self.term_at(index) == term
