"""Gate: whether there is room for a change now, or it has to wait until something has gone for it.

Housekeeping evicts what writers have made too much. A writer that is faster waits here, so that what is in the order
always fits. The gate is told what the replica holds: it knows neither LMDB nor the core.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, NamedTuple

from django_hacache.consensus.proposals.held import Lack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django_hacache.replica.eviction import Limits
    from django_hacache.replica.room import Room, Usage

# A cache may be beyond its SIZE_LIMIT by a share of it and this many bytes; then its writers wait.
MARGIN_SHARE = 4
MARGIN_MIN = 1 << 20
# What LMDB takes for an entry beside its bytes: a part of a page, or the rest of its last one.
SMALL_BYTES = 1024
SMALL_COST, PAGE_COST = 64, 4096
# A change is stored in the log and in its cache.
TIMES_STORED = 2
# Waiting begins where so much of the headroom is used up; removals may take half of what is left then.
WAIT_SHARE = 2
# Entries and bytes of a cache that nobody has written to.
NOTHING = (0, 0)


class Look(NamedTuple):
    """What a replica holds: the room of its file, and what each cache takes."""

    room: Room
    used: Mapping[str, Usage]


def cost_of(size: int) -> int:
    """What a change of so many bytes takes of the file at most."""
    return TIMES_STORED * (size + (PAGE_COST if size > SMALL_BYTES else SMALL_COST))


def most_of(limit: int) -> int:
    """How many bytes a cache with this SIZE_LIMIT may take before its writers wait."""
    return limit + limit // MARGIN_SHARE + MARGIN_MIN


class Gate:
    """Counts what is in the order and not applied yet, beside what the replica holds.

    Args:
        limits: of each cache.
        unknown: the limits of a cache that only other hosts know.
        look: tells what the replica holds; called when what was seen last leaves no room.
    """

    def __init__(self, limits: Mapping[str, Limits], unknown: Limits, look: Callable[[], Look]) -> None:
        self._limits = limits
        self._unknown = unknown
        self._look = look
        self._ahead: deque[tuple[int, str, int, int]] = deque()
        self._ahead_of: Counter[str] = Counter()
        self._cost_ahead = 0
        self._seen: Look | None = None
        self._stale = True
        # A change of so many bytes has room, whatever its cache is: nothing has to be looked at for it.
        self.plenty = 0
        # What has to go for the change that waits, beside what lacks anyway.
        self.wanted = 0

    def lacks(self, cache: str, size: int, *, removal: bool) -> Lack | None:
        """What a change of so many bytes has to wait for; `removal`: it takes nothing of its cache."""
        if size <= self.plenty:
            return None
        lack = self._lacks(cache, size, removal=removal)
        if lack is not None and self._stale:
            self.seen(self._look())
            lack = self._lacks(cache, size, removal=removal)
        if lack is not None:
            self.wanted = max(self.wanted, cost_of(size))
        return lack

    def _lacks(self, cache: str, size: int, *, removal: bool) -> Lack | None:
        if self._seen is None:
            return Lack.SHARED
        room, used = self._seen
        kept = room.headroom // WAIT_SHARE // (2 if removal else 1)
        if self._cost_ahead + cost_of(size) > room.free - kept:
            return Lack.SHARED
        entries, taken = used.get(cache, NOTHING)
        limit, ahead = self._limit_of(cache), self._ahead_of[cache]
        if removal or taken + ahead + size <= most_of(limit):
            return None
        # One alone may be larger than the margin. The one that a cache has left does not go before there is another.
        alone = ahead == 0 and not self._stale and (taken <= limit or entries <= 1)
        return None if alone else Lack.OWN

    def _limit_of(self, cache: str) -> int:
        return self._limits.get(cache, self._unknown).size_limit

    def ordered(self, index: int, cache: str, size: int) -> None:
        """A change has its place at `index`."""
        cost = cost_of(size)
        self._ahead.append((index, cache, size, cost))
        self._ahead_of[cache] += size
        self._cost_ahead += cost
        self.plenty -= cost // TIMES_STORED

    def applied(self, index: int) -> None:
        """The replica now holds everything up to `index`."""
        ahead = self._ahead
        while ahead and ahead[0][0] <= index:
            _, cache, size, cost = ahead.popleft()
            self._ahead_of[cache] -= size
            self._cost_ahead -= cost
        self._stale = True

    def abandon(self) -> None:
        """Forget what was ordered and is not applied: it may never be."""
        self._ahead.clear()
        self._ahead_of.clear()
        self._cost_ahead = 0

    def seen(self, look: Look) -> None:
        """This is what the replica holds now."""
        self._seen = look
        self._stale = False
        room, used = look
        spare = room.free - room.headroom // WAIT_SHARE - self._cost_ahead
        known = {*used, *self._limits, *self._ahead_of}
        left = [
            most_of(self._limit_of(one)) - used.get(one, NOTHING)[1] - self._ahead_of[one] for one in known
        ]
        # At most, whatever it costs and whichever cache it is for, one that nobody knows yet included.
        self.plenty = min(spare // TIMES_STORED - PAGE_COST, most_of(self._unknown.size_limit), *left)

    def time_passed(self) -> None:
        """Look at the replica before the next refusal: others may have given room back."""
        self._stale = True
