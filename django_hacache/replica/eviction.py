"""Chooses the entries that have to go: expired ones first, then old ones. Bounded work a call, never a scan, no index.

One sweep (clock_sweep.py) goes round the entries and looks for expired ones, EXPIRED_LOOKS_A_STEP with every
WRITES_A_STEP writes. So a round takes a quarter as many writes as there are entries, and what has expired is at most a
third of what lives. A second sweep goes round a cache that is beyond its limits, and takes the oldest: of a small cache
exactly the oldest, of a large one those that were among the oldest eighth when it came by the last time.

On one machine each writer removes the chosen keys with its own writes; in a cluster the leader chooses, and every
replica removes the same keys. Must not remove anything itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from django_hacache.replica.clock import boottime_ns

if TYPE_CHECKING:
    from django_hacache.replica.clock_sweep import ClockSweep, SweptEntry
    from django_hacache.replica.room import Usage

MAX_SURPLUS_KEYS = 4096
EXPIRED_LOOKS_A_STEP = 32
WRITES_A_STEP = 8
LOOKS_A_KEY = 8
MIN_LOOKS = 512
LOOKS_A_STEP = 64
NODE_BYTES = 10
"""What LMDB adds to a key and a value."""

HEADROOM_BYTES = 1024 * 1024
"""What is kept free in the file on a file system that is full: removing takes pages before it frees any."""

MAP_HEADROOM_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What one cache may take: bytes of pages, entries (None: any number), and Django's CULL_FREQUENCY."""

    size_limit: int
    max_entries: int | None
    cull_frequency: int


def map_size_for(size_limits: int) -> int:
    """Return the map size (bytes) for caches with `size_limits` bytes in all, with room for pages that reads pin."""
    return 4 * size_limits + MAP_HEADROOM_BYTES


class Surplus(NamedTuple):
    """What has to go in one step: so many entries, and so many bytes besides, but at most `bound` entries.

    looks: at how many entries to look for them.
    left: how many more entries have to go in the steps that follow.
    """

    entries: int
    bytes: int
    bound: int
    looks: int
    of_all: bool  # whether so many looks see the whole cache
    newest_stays: bool = True  # of a cache that is seen as a whole
    left: int = 0


def surplus(
    used: Usage, limits: Limits, size: int, most: int = MAX_SURPLUS_KEYS, going: int = 0
) -> Surplus | None:
    """Return what has to go of a cache that takes `used`; None where nothing has to.

    With more than `max_entries` one of `cull_frequency` entries goes, as Django documents, and with 0 all of them.
    size: how many bytes have to go besides.
    most: the most keys of this step.
    going: the `left` of the step before.
    """
    wanted = max(_culled(used, limits), min(going, used.entries))
    count = min(wanted, most)
    bound = max(count, most if size > 0 else 0)
    if bound == 0:
        return None
    of_usual_size = min(size * used.entries // max(used.bytes, 1) + 1, bound)
    some = some_of(used, max(count, of_usual_size))
    return some._replace(entries=count, bytes=size, bound=bound, left=wanted - count)


def _culled(used: Usage, limits: Limits) -> int:
    """Return how many entries go because there are more than `max_entries`."""
    if limits.max_entries is None or used.entries <= limits.max_entries:
        return 0
    if limits.cull_frequency == 0:
        return used.entries
    return max(used.entries // limits.cull_frequency, used.entries - limits.max_entries)


def some_of(used: Usage, count: int) -> Surplus:
    """Return a Surplus of `count` entries."""
    looks = max(LOOKS_A_KEY * count, MIN_LOOKS)
    return Surplus(count, 0, count, looks, of_all=looks >= used.entries)


def oldest(sweep: ClockSweep, wanted: Surplus) -> list[bytes]:
    """Return the replica keys of what is wanted, from the entries that the sweep comes to next.

    Of a cache that the sweep sees as a whole: the oldest, the newest last or never. Of a larger one: those that have
    expired or are old by the sweep's horizon. Where these are too few, it takes the oldest entries that it saw for the
    number wanted, and leaves wanted bytes to the next call.
    """
    now_ns = boottime_ns()
    going = _Going(wanted)
    if wanted.of_all:
        seen = sorted(sweep.look(wanted.looks), key=lambda one: one.version * (not one.expired(now_ns)))
        for one in seen[:-1] if wanted.newest_stays else seen:
            if going.enough:
                break
            going.take(one)
        return going.keys
    young: list[SweptEntry] = []
    for _ in range(0, wanted.looks, LOOKS_A_STEP):
        staying: list[SweptEntry] = []
        for one in sweep.look(LOOKS_A_STEP):
            if (one.version <= sweep.horizon or one.expired(now_ns)) and not going.enough:
                going.take(one)
            else:
                staying.append(one)
        sweep.leave(staying)
        young += staying
        if going.enough:
            break
    for one in sorted(young)[: max(wanted.entries - len(going.keys), 0)]:
        going.take(one)
    return going.keys


class _Going:
    """The keys that were chosen so far, and whether they are enough."""

    def __init__(self, wanted: Surplus) -> None:
        self.keys: list[bytes] = []
        self._wanted = wanted
        self._bytes_left = wanted.bytes

    @property
    def enough(self) -> bool:
        count = len(self.keys)
        return count >= self._wanted.bound or (count >= self._wanted.entries and self._bytes_left <= 0)

    def take(self, one: SweptEntry) -> None:
        self.keys.append(one.key)
        self._bytes_left -= one.size + NODE_BYTES
