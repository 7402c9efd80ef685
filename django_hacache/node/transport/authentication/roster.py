"""Who takes part: nodes with one list of hosts, that speak one version of the protocol.

With two lists two majorities need have no host in common: both would decide. Schemes and order make no difference: they
say how to reach a host, not which hosts are counted. Of two versions each would take what the other says for something
else, a replica for instance. So nodes tell each other both, and who has another one takes no part. Knows no messages.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, TypeVar

from django_hacache.consensus.config import digest_of
from django_hacache.node.log_throttle import LogThrottle
from django_hacache.node.transport.authentication.credentials import EXTENSION_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django_hacache.conf import ClusterConfig

logger = logging.getLogger("django_hacache.node")

T = TypeVar("T")

# Whoever has another list tries again and again; one that has not for so long is gone, or has been mended.
SHOWN_S = 120.0
OTHERS_MAX = 64


class Roster:
    """The list of this node, and the nodes that were met with another list or another version."""

    def __init__(self, config: ClusterConfig, now: Callable[[], float] = time.monotonic) -> None:
        self.hosts = tuple(sorted(host.addr for host in config.hosts))
        self.digest = digest_of(self.hosts)
        self._now = now
        self._others: dict[str, tuple[float, tuple[str, ...]]] = {}
        self._versions: dict[str, tuple[float, int]] = {}
        self._throttle = LogThrottle(logger)

    def refusal_of(self, addr: str, hosts: Iterable[str], version: int) -> str:
        """Why the node `addr`, with that list and version, takes no part with this one; empty where it does."""
        return self._other_version(addr, version) or self._other_list(addr, hosts)

    def _other_version(self, addr: str, version: int) -> str:
        if version == EXTENSION_VERSION:
            self._versions.pop(addr, None)
            return ""
        self._versions = self._noted(self._versions, addr, version)
        differs = (
            f"{addr[:80]} speaks version {version} of the protocol between nodes, and this node version "
            f"{EXTENSION_VERSION}"
        )
        self._throttle.say(
            f"{addr} {version}" if addr in self.hosts else "version",
            f"{addr[:80]} takes no part: it speaks version {version} of the protocol between nodes, and this node "
            f"version {EXTENSION_VERSION}, as while a release goes from host to host. Give all hosts the "
            "same release of django_hacache; a majority that has one works",
            level=logging.ERROR,
        )
        return f"another release of django_hacache: {differs}"

    def _other_list(self, addr: str, hosts: Iterable[str]) -> str:
        theirs = tuple(sorted({host for host in hosts if host}))
        if not theirs or theirs == self.hosts:
            self._others.pop(addr, None)
            return ""
        self._others = self._noted(self._others, addr, theirs)
        more = ", ".join(sorted(set(theirs) - set(self.hosts)))
        fewer = ", ".join(sorted(set(self.hosts) - set(theirs)))
        differs = " and ".join(
            [f"it has {more[:400]} besides"] * bool(more) + [f"it has not {fewer[:400]}"] * bool(fewer)
        )
        self._throttle.say(
            f"{addr} {theirs}" if addr in self.hosts else "list",
            f"{addr[:80]} takes no part: its HA_HOSTS is another one than here, {differs}. With two lists two sides "
            "could decide apart: stop all nodes, give all the same HA_HOSTS, start them",
            level=logging.ERROR,
        )
        return f"HA_HOSTS of {addr[:80]} is another one than that of this node: {differs}"

    def _noted(self, met: dict[str, tuple[float, T]], addr: str, theirs: T) -> dict[str, tuple[float, T]]:
        now = self._now()
        lately = {other: seen for other, seen in met.items() if seen[0] >= now - SHOWN_S}
        if len(lately) < OTHERS_MAX or addr in lately:
            lately[addr] = (now, theirs)
        return lately

    def _lately(self, met: dict[str, tuple[float, T]]) -> dict[str, T]:
        since = self._now() - SHOWN_S
        return {addr: theirs for addr, (met_at, theirs) in sorted(met.items()) if met_at >= since}

    @property
    def others(self) -> dict[str, tuple[str, ...]]:
        """The nodes with another list that were met lately, each with its list."""
        return self._lately(self._others)

    @property
    def versions(self) -> dict[str, int]:
        """The nodes that speak another version and were met lately, each with its version."""
        return self._lately(self._versions)
