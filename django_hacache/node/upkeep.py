"""The leader's housekeeping: expired entries and entries beyond a cache's limits leave through the log.

So every replica drops the same entries at the same place in the order.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from django_hacache.replica.eviction import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_hacache.conf import CacheOptions
    from django_hacache.consensus.core import Core
    from django_hacache.consensus.messages import Generation
    from django_hacache.node.decide import Decider
    from django_hacache.replica.replica import Replica

logger = logging.getLogger("django_hacache.node")

EXPIRED_KEYS = 2000
EVERY_MS = 100
EVERY_IDLE_MS = 1000
MS = 1_000_000


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


class Upkeep:
    def __init__(self, core: Core, replica: Replica, decider: Decider, limits: Mapping[str, Limits]) -> None:
        self._core = core
        self._replica = replica
        self._decider = decider
        self._limits = limits
        # Another host may know an alias before this one does, or still, while a release goes from host to host.
        self._unknown = max(limits.values(), key=lambda one: one.size_limit)
        self._changed = True
        self._next_at = 0
        # The latest removal of a cache, by who led then and its index: until it is applied there is no further one.
        # A new generation counts terms and indexes from the start.
        self._removing: dict[str, tuple[tuple[Generation | None, int], int]] = {}

    def applied(self) -> None:
        """The replica has changed."""
        self._changed = True

    def run(self, now: int) -> None:
        """Propose what has to go, where this node leads and some time has passed."""
        if not self._core.may_propose or now < self._next_at:
            return
        self._next_at = now + (EVERY_MS if self._changed else EVERY_IDLE_MS)
        self._changed = False
        for cache, keys in self._superfluous(now).items():
            self._remove(cache, keys, now)

    def _leadership(self) -> tuple[Generation | None, int]:
        return self._core.hard.generation, self._core.hard.term

    def _superfluous(self, now: int) -> dict[str, list[bytes]]:
        """Some keys of each cache that have to go, where no removal is on its way."""
        found = {}
        with self._replica.write() as transaction:
            for cache in transaction.caches():
                if not self._is_removing(cache):
                    keys = transaction.expired(cache, now * MS, EXPIRED_KEYS)
                    found[cache] = keys or transaction.surplus(cache, self._limits.get(cache, self._unknown))
        return {cache: keys for cache, keys in found.items() if keys}

    def _is_removing(self, cache: str) -> bool:
        leadership, index = self._removing.get(cache, (None, 0))
        return leadership == self._leadership() and self._core.state.applied < index

    def _remove(self, cache: str, keys: list[bytes], now: int) -> None:
        index = self._core.state.log.last_index + 1
        effect = self._decider.removal(cache, keys, index, now)
        if effect and self._core.propose(effect, now):
            self._removing[cache] = (self._leadership(), index)
            self._changed = True
