"""Decides, on the leader, what a change does: a condition becomes a yes or no, arithmetic a result.

It makes sure that the change is possible and that there is room for it, and lets it be carried out on the leader's
store. What it returns are effects that every replica can carry out without looking at anything.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django_hacache.changes.codec import change_from, outcome_bytes
from django_hacache.consensus.messages import NeverOrdered
from django_hacache.node.encoding.acks import CODES, change_of
from django_hacache.node.evaluation.leader_store import LeaderStore
from django_hacache.node.log_throttle import LogThrottle
from django_hacache.node.requests.validation import (
    ENTRY_BYTES_MAX,
    SHOWN_CHARACTERS,
    Refused,
    check_name,
    checked,
)
from django_hacache.replica.layout import MAX_CACHES
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from django_hacache.changes.outcome import Outcome
    from django_hacache.consensus.proposals.held import Lack
    from django_hacache.node.evaluation.catalogue import Catalogue
    from django_hacache.node.evaluation.gate import Gate
    from django_hacache.replica.replica import Replica
    from django_hacache.values.signing import Codec

logger = logging.getLogger("django_hacache.node")

REMOVALS = (pb.Del, pb.Remove, pb.Clear)


def _cache_of(change: Any) -> str:
    """The cache that a change counts for; that of its first part, where it has several. Empty where it has none."""
    if isinstance(change, pb.Batch):
        kind = change.changes[0].WhichOneof("change") if change.changes else None
        return str(getattr(change.changes[0], kind).cache_name) if kind else ""
    return str(change.cache_name)


class Evaluator:
    """The Evaluator of the consensus core, over one replica."""

    def __init__(
        self,
        replica: Replica,
        gate: Gate | None = None,
        catalogue: Catalogue | None = None,
        codecs: Mapping[str, Codec] | None = None,
        *,
        entry_bytes_max: int = ENTRY_BYTES_MAX,
    ) -> None:
        """Take what LeaderStore takes, what says whether there is room, and which host serves which caches."""
        self._replica = replica
        self._gate = gate
        self._catalogue = catalogue
        self._store = LeaderStore(replica, codecs or {}, entry_bytes_max=entry_bytes_max)
        self._throttle = LogThrottle(logger)
        # The caches that have entries, or will have: there is room for so many.
        self._names: set[str] = set()
        self.overlay = self._store.overlay

    # the interface that the core knows

    def lacks(self, command: pb.CacheRequest, size: int) -> Lack | None:
        """Whether a change of so many bytes has to wait until something has gone for it, and with whom."""
        gate = self._gate
        if gate is None or size <= gate.plenty:
            return None
        change = change_of(command)
        return gate.lacks(_cache_of(change), size, removal=isinstance(change, REMOVALS))

    def line_of(self, command: pb.CacheRequest) -> str:
        """The cache whose changes it waits with."""
        return _cache_of(change_of(command))

    def evaluate(self, command: pb.CacheRequest, index: int, now: int) -> tuple[bytes, bytes]:
        """Return the serialized Effects and Outcome of a change that will have its place at `index`.

        Raises NeverOrdered where that would be an entry that a connection does not take or a host cannot store.
        """
        store = self._store
        store.begin(index, now)
        try:
            parts = checked(change_of(command))
            outcomes: list[Outcome] = []
            for part in parts:
                cache = part.cache_name
                if cache not in self._names:
                    self._admit(cache)
                outcomes.append(change_from(part).carry_out(store, cache))
            effects = store.effects()
        except Refused as refused:
            self.overlay.take_back()
            self._names.clear()  # what one part had made room for is taken back, too
            raise NeverOrdered(CODES[refused.code], str(refused)) from None
        if self._gate is not None and effects:
            self._gate.ordered(index, parts[0].cache_name, len(effects) + store.rewritten)
        return effects, outcome_bytes(outcomes)

    def abandon(self) -> None:
        """Forget what may never be applied."""
        self._names.clear()
        self.overlay.abandon()
        if self._gate is not None:
            self._gate.abandon()

    # the interface for the shell

    def applied(self, index: int) -> None:
        """The replica now holds everything up to `index`."""
        if self._gate is not None:
            self._gate.applied(index)
        self.overlay.applied(index)

    def removal(self, cache: str, keys: Iterable[bytes], index: int, now: int) -> bytes:
        """The effects of an eviction of replica keys, except those that a change in the order has touched."""
        self._store.begin(index, now)
        self._store.remove_keys(cache, keys)
        return self._store.effects()

    def clearing(self, cache: str, index: int, now: int) -> bytes:
        """The effect of emptying a cache that no host serves any more."""
        self._store.begin(index, now)
        self._store.clear(cache)
        self._names.discard(cache)
        return self._store.effects()

    # room for the names of caches

    def _admit(self, cache: str) -> None:
        """Make sure that every replica can hold the cache, be it by clearing one that no host serves any more."""
        check_name(cache)
        with self._replica.snapshot() as picture:
            stored = {name: picture.usage(name).entries for name in picture.caches()}
        # A cache without entries needs no place: where another one does, replicas forget its name.
        self._names = {
            name for name, entries in stored.items() if entries and name not in self.overlay.cleared
        }
        self._names.update(self.overlay.pending)
        if cache not in self._names and len(self._names) >= MAX_CACHES:
            self._make_room_for(cache, stored)
        self._names.add(cache)

    def _make_room_for(self, cache: str, stored: dict[str, int]) -> None:
        shown = cache[:SHOWN_CHARACTERS]
        if self._catalogue is None or self._catalogue.silent():
            silent = ", ".join(self._catalogue.silent()) if self._catalogue else "this host"
            raise Refused(
                pb.ERROR_UNKNOWN_CACHE,
                f"no room for cache {shown!r}: there are {len(self._names)} others, and {silent} has not said which "
                "of them it serves",
            )
        unused = self._names - self._catalogue.configured()
        if not unused:
            raise Refused(
                pb.ERROR_UNKNOWN_CACHE,
                f"no room for cache {shown!r}: the hosts serve {len(self._names)} others, all that a cluster can hold",
            )
        least = min(unused, key=lambda name: (stored.get(name, 0), name))
        self._throttle.say(
            "room", f"cache {least!r} is in the settings of no host: it makes room for {shown!r}"
        )
        self._store.clear(least)
        self._names.discard(least)
