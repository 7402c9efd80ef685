"""Which caches the hosts of the cluster serve, by what they say of their settings when they greet. Knows no replica."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Catalogue:
    """The names in the settings of all hosts, this one included."""

    def __init__(self, own: Iterable[str], peers: Iterable[str]) -> None:
        self._own = frozenset(own)
        self._of_peers: dict[str, frozenset[str]] = {peer: frozenset() for peer in peers}

    def says(self, peer: str, caches: Iterable[str]) -> None:
        """Take what a peer says of itself."""
        self._of_peers[peer] = frozenset(caches)

    def silent(self) -> list[str]:
        """The peers that have not said it since this node started: any cache may be one of theirs."""
        return sorted(peer for peer, caches in self._of_peers.items() if not caches)

    def configured(self) -> frozenset[str]:
        """All names that were said."""
        return self._own.union(*self._of_peers.values())
