"""The leader's housekeeping: expired entries and entries beyond a cache's limits leave through the log.

So every replica drops the same entries at the same place in the order. How much is done follows from how much is
written: a step comes with so many bytes or changes that were applied, and takes at least as much away as has come.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from django_hacache.node.evaluation.gate import Gate, Look
from django_hacache.replica import eviction
from django_hacache.replica.clock import MS
from django_hacache.replica.eviction import Limits
from django_hacache.replica.room import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from django_hacache.conf import CacheOptions
    from django_hacache.consensus.core import Core
    from django_hacache.consensus.messages import Entry, Generation
    from django_hacache.node.evaluation.catalogue import Catalogue
    from django_hacache.node.evaluation.evaluator import Evaluator
    from django_hacache.replica.replica import Replica
    from django_hacache.replica.transaction import ReadTransaction

logger = logging.getLogger("django_hacache.node")

EVERY_MS = 100
EVERY_IDLE_MS = 1000
# A step comes at the latest with so many changes, or with this share of the limits in bytes, within these bounds.
STEP_CHANGES = 512
STEP_SHARE, STEP_BYTES_MIN, STEP_BYTES_MAX = 64, 64 << 10, 1 << 20
# A step looks at so many entries for each change since the last one, within these bounds.
LOOKS_A_CHANGE = 4
LOOKS_MIN, LOOKS_MAX = 64, 2000
# And takes so many keys, or twice as many as there were changes, and not more than most: it looks at eight for each.
STEP_KEYS, STEP_KEYS_MAX = 512, 1024
# One removal in the log; more keys are several.
REMOVAL_BYTES = 64 << 10
REMOVAL_KEYS = 2000
VALUE_SHARE = 16
# A cache that is in the settings of no host is emptied after this time: a release may be taken back.
UNUSED_MS = 600_000


def limits_within(caches: Mapping[str, CacheOptions], capacity: int) -> dict[str, Limits]:
    """The limits of the caches, together at most half of `capacity` (bytes of the file system).

    The other half is for the log, for pages that readers still see, and for what is being written.
    """
    wanted = sum(options.size_limit for options in caches.values())
    share = min(1.0, capacity / 2 / wanted) if wanted else 1.0
    if share < 1.0:
        logger.warning(
            "SIZE_LIMIT is %d bytes in all and the file system of the replica has %d: the caches are kept to %d",
            wanted,
            capacity,
            capacity // 2,
        )
    return {
        name: Limits(int(options.size_limit * share), options.max_entries, options.cull_frequency)
        for name, options in caches.items()
    }


def values_within(caches: Mapping[str, CacheOptions], capacity: int) -> dict[str, CacheOptions]:
    """The options of the caches, with values that can be stored on a file system of `capacity` bytes.

    A value takes pages in one piece, in the log and in its cache. Where many are written, there are no longer ones.
    """
    largest = capacity // VALUE_SHARE
    return {
        name: replace(options, max_value_bytes=min(options.max_value_bytes, largest))
        for name, options in caches.items()
    }


def gate_of(replica: Replica, limits: Mapping[str, Limits]) -> Gate:
    """The gate in front of a replica with these limits."""

    def look() -> Look:
        with replica.snapshot(views=True) as reading:
            return _seen(reading)

    return Gate(limits, _unknown(limits), look)


def _unknown(limits: Mapping[str, Limits]) -> Limits:
    """Another host may know an alias before this one does, or still, while a release goes from host to host."""
    return max(limits.values(), key=lambda one: one.size_limit)


def _seen(reading: ReadTransaction) -> Look:
    return Look(reading.room(), {cache: reading.usage(cache) for cache in reading.caches()})


class Housekeeping:
    def __init__(
        self,
        core: Core,
        replica: Replica,
        evaluator: Evaluator,
        limits: Mapping[str, Limits],
        gate: Gate,
        catalogue: Catalogue | None = None,
    ) -> None:
        self._core = core
        self._replica = replica
        self._evaluator = evaluator
        self._limits = limits
        self._unknown = _unknown(limits)
        self._gate = gate
        self._catalogue = catalogue
        # Since when a cache is in the settings of no host.
        self._unused_since: dict[str, int] = {}
        all_limits = sum(one.size_limit for one in limits.values())
        self._step_bytes = min(max(all_limits // STEP_SHARE, STEP_BYTES_MIN), STEP_BYTES_MAX)
        # Where the sweeps stand that go round the caches.
        self._sweeps: dict[bytes, bytes] = {}
        self._next_at = 0
        # When to look for caches that nobody serves.
        self._unused_at = 0
        # What was applied since the last step.
        self._changes = 0
        self._bytes = 0
        # Where a step has found more to do than it may have done.
        self._unfinished: set[str] = set()
        # The latest removal of a cache, by who led then and its index: until it is applied there is no further one.
        # A new generation counts terms and indexes from the start.
        self._removing: dict[str, tuple[tuple[Generation | None, int], int]] = {}
        # How many entries the last step of this leadership has left to go.
        self._going: dict[str, tuple[tuple[Generation | None, int], int]] = {}

    def applied(self, entries: Sequence[Entry]) -> bool:
        """The replica has changed. Whether a step is due with that."""
        self._changes += len(entries)
        for entry in entries:
            self._bytes += entry.size
        due = self._changes >= STEP_CHANGES or self._bytes >= self._step_bytes
        unfinished = self._unfinished
        return due or (bool(unfinished) and not all(map(self._is_removing, unfinished)))

    def step(self, now: int) -> bool:
        """What is due with what was applied, where this node leads. Whether it has put something into the order."""
        return self._core.may_propose and self._step(now, self._looks())

    def _looks(self) -> int:
        return min(max(LOOKS_A_CHANGE * self._changes, LOOKS_MIN), LOOKS_MAX)

    def run(self, now: int) -> None:
        """Propose what has to go, where this node leads and some time has passed."""
        if not self._core.may_propose or (now < self._next_at and not self._gate.wanted):
            return
        self._next_at = now + (EVERY_MS if self._changes else EVERY_IDLE_MS)
        self._gate.time_passed()
        if now >= self._unused_at:
            self._unused_at = now + EVERY_IDLE_MS
            self._drop_unused(now)
        # As many in a second, at least, whether there is much to do or nothing.
        looks = LOOKS_MAX
        if self._changes and not self._gate.wanted:
            looks = max(self._looks(), LOOKS_MAX * EVERY_MS // EVERY_IDLE_MS)
        if self._step(now, looks):
            self._next_at = now + EVERY_MS

    def _drop_unused(self, now: int) -> None:
        """Empty what has been in the settings of no host for long: it takes room, and a place among the names."""
        if self._catalogue is None:
            return
        with self._replica.snapshot(views=True) as reading:
            stored = [cache for cache in reading.caches() if reading.usage(cache).entries]
        since = self._unused_since
        self._unused_since = {cache: since.get(cache, now) for cache in self._catalogue.unused(stored)}
        for cache, began in self._unused_since.items():
            if now - began >= UNUSED_MS and self._core.may_propose:
                logger.info("cache %r has been in the settings of no host for long: it is emptied", cache)
                self._unused_since[cache] = now
                effect = self._evaluator.clearing(cache, self._core.state.log.last_index + 1, now)
                self._core.propose(effect, now)

    def _leadership(self) -> tuple[Generation | None, int]:
        return self._core.hard.generation, self._core.hard.term

    def _step(self, now: int, looks: int) -> bool:
        """Look for what has to go, and propose that; whether there was something."""
        most = min(max(STEP_KEYS, 2 * self._changes), STEP_KEYS_MAX)
        found = self._superfluous(now, looks, most)
        self._changes = self._bytes = 0
        return sum(self._remove(cache, keys, now) for cache, keys in found.items()) > 0

    def _superfluous(self, now: int, looks: int, most: int) -> dict[str, list[bytes]]:
        """Some keys of each cache that have to go, where no removal is on its way."""
        with self._replica.snapshot(views=True) as reading:
            reading.sweeps = self._sweeps
            seen = _seen(reading)
            self._gate.seen(seen)
            lacking, self._gate.wanted = seen.room.lacking(self._gate.wanted), 0
            total = max(sum(used.bytes for used in seen.used.values()), 1)
            return {
                cache: self._of_cache(reading, cache, now, looks, lacking * used.bytes // total, most)
                for cache, used in seen.used.items()
                if not self._is_removing(cache)
            }

    def _of_cache(
        self, reading: ReadTransaction, cache: str, now: int, looks: int, lacking: int, most: int
    ) -> list[bytes]:
        """What has expired, and what is beyond the limits without that: both, in every step."""
        limits, used = self._limits.get(cache, self._unknown), reading.usage(cache)
        expired = reading.expired(cache, now * MS, looks)
        freed = sum(one.size + eviction.NODE_BYTES for one in expired)
        left = Usage(used.entries - len(expired), max(used.bytes - freed, 0))
        size = max(left.bytes - limits.size_limit, lacking - freed)
        leadership, going = self._going.pop(cache, (None, 0))
        wanted = eviction.surplus(left, limits, size, most, going if leadership == self._leadership() else 0)
        if wanted is None:
            self._unfinished.discard(cache)
            return [one.key for one in expired]
        # For room that all of them lack the newest goes, too, where the others are not enough.
        wanted = wanted._replace(newest_stays=lacking <= freed)
        self._unfinished.add(cache)
        if wanted.left:
            self._going[cache] = (self._leadership(), wanted.left)
        # The sweeps may meet: what has expired is among the oldest, too.
        return list(dict.fromkeys([*(one.key for one in expired), *reading.oldest(cache, wanted)]))

    def _is_removing(self, cache: str) -> bool:
        leadership, index = self._removing.get(cache, (None, 0))
        return leadership == self._leadership() and self._core.state.applied < index

    def _remove(self, cache: str, keys: list[bytes], now: int) -> bool:
        proposed = False
        for piece in _pieces(keys):
            if not self._core.may_propose:
                break
            index = self._core.state.log.last_index + 1
            effect = self._evaluator.removal(cache, piece, index, now)
            if effect and self._core.propose(effect, now):
                self._removing[cache] = (self._leadership(), index)
                proposed = True
        return proposed


def _pieces(keys: list[bytes]) -> Iterator[list[bytes]]:
    """The keys in their order, in pieces that are one entry of the log each."""
    piece: list[bytes] = []
    size = 0
    for key in keys:
        piece.append(key)
        size += len(key)
        if size >= REMOVAL_BYTES or len(piece) >= REMOVAL_KEYS:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece
