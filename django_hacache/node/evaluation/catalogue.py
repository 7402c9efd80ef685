"""Catalogue: which caches the hosts of the cluster serve, and by which limits, as they say when they greet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from django_hacache.conf.config import limits_of
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from django_hacache.conf import CacheOptions

FIELDS = {
    "SIZE_LIMIT": "size_limit",
    "MAX_ENTRIES": "max_entries",
    "CULL_FREQUENCY": "cull_frequency",
    "MAX_VALUE_SIZE": "max_value_bytes",
}


class Difference(NamedTuple):
    """A limit of a cache that a peer has another value for; None: no limit."""

    peer: str
    cache: str
    limit: str
    there: int | None
    here: int | None


def sentence_about(difference: Difference) -> str:
    """What there is to say of it."""
    there, here = ("none" if value is None else value for value in (difference.there, difference.here))
    return (
        f"{difference.peer} has another {difference.limit} for the cache {difference.cache!r}: {there}, and this host "
        f"{here}. Those of the leader count: give all hosts the same"
    )


def limits_to_wire(caches: Mapping[str, CacheOptions]) -> list[pb.CacheLimits]:
    """What a node says of its own."""
    return [
        pb.CacheLimits(name=name, **{FIELDS[limit]: value for limit, value in limits_of(options).items()})
        for name, options in caches.items()
    ]


class Catalogue:
    """The names in the settings of all hosts, this one included."""

    def __init__(
        self, own: Iterable[str], peers: Iterable[str], limits: Iterable[pb.CacheLimits] = ()
    ) -> None:
        self.own = tuple(own)
        self.own_limits = tuple(limits)
        self._of_peers: dict[str, frozenset[str]] = {peer: frozenset() for peer in peers}
        self._differences: dict[str, list[Difference]] = {}

    def says(
        self, peer: str, caches: Iterable[str], limits: Iterable[pb.CacheLimits] = ()
    ) -> list[Difference]:
        """Take what a peer says of itself; returns in which limits it differs."""
        self._of_peers[peer] = frozenset(caches)
        found = [difference for one in limits for difference in self._compared(peer, one)]
        self._differences[peer] = found
        return found

    def _compared(self, peer: str, theirs: pb.CacheLimits) -> list[Difference]:
        ours = next((one for one in self.own_limits if one.name == theirs.name), None)
        if ours is None:
            return []
        pairs = {limit: (_value(theirs, field), _value(ours, field)) for limit, field in FIELDS.items()}
        return [
            Difference(peer, theirs.name, limit, there, here)
            for limit, (there, here) in pairs.items()
            if there != here
        ]

    def differences(self) -> list[Difference]:
        """The limits that differ between this host and others: those of the leader count."""
        return [one for found in self._differences.values() for one in found]

    def silent(self) -> list[str]:
        """The peers that have not said it since this node started: any cache may be one of theirs."""
        return sorted(peer for peer, caches in self._of_peers.items() if not caches)

    def configured(self) -> frozenset[str]:
        """All names that were said."""
        return frozenset(self.own).union(*self._of_peers.values())

    def unused(self, stored: Iterable[str]) -> list[str]:
        """Those of the names that surely no host serves any more."""
        configured = self.configured()
        return [] if self.silent() else [name for name in stored if name not in configured]


def _value(limits: Any, field: str) -> int | None:
    return int(getattr(limits, field)) if limits.HasField(field) else None
