"""Whether all nodes have one list of hosts. With two lists two majorities need have no host in common: both would
decide.

So nodes tell each other their lists, and who has another one takes no part. Schemes and order make no difference: they
say how to reach a host, not which hosts are counted. Knows no messages.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from django_hacache.consensus.config import digest_of
from django_hacache.node.complaints import Complaints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django_hacache.conf import ClusterConfig

logger = logging.getLogger("django_hacache.node")

# Whoever has another list tries again and again; one that has not for so long is gone, or has been mended.
SHOWN_S = 120.0
OTHERS_MAX = 64


class Roster:
    """The list of this node, and the nodes that were met with another one."""

    def __init__(self, config: ClusterConfig, now: Callable[[], float] = time.monotonic) -> None:
        self.hosts = tuple(sorted(host.addr for host in config.hosts))
        self.digest = digest_of(self.hosts)
        self._now = now
        self._others: dict[str, tuple[float, tuple[str, ...]]] = {}
        self._complaints = Complaints(logger)

    def refusal_of(self, addr: str, hosts: Iterable[str]) -> str:
        """Why the node `addr`, which has the list `hosts`, takes no part with this one; empty where it does.

        One that tells no list is of an earlier version.
        """
        theirs = tuple(sorted({host for host in hosts if host}))
        if not theirs or theirs == self.hosts:
            self._others.pop(addr, None)
            return ""
        self._note(addr, theirs)
        more = ", ".join(sorted(set(theirs) - set(self.hosts)))
        fewer = ", ".join(sorted(set(self.hosts) - set(theirs)))
        differs = " and ".join(
            [f"it has {more[:400]} besides"] * bool(more) + [f"it has not {fewer[:400]}"] * bool(fewer)
        )
        self._complaints.say(
            f"{addr} {theirs}",
            f"{addr[:80]} takes no part: its HA_HOSTS is another one than here, {differs}. With two lists two sides "
            "could decide apart: stop all nodes, give all the same HA_HOSTS, start them",
            level=logging.ERROR,
        )
        return f"HA_HOSTS of {addr[:80]} is another one than that of this node: {differs}"

    def _note(self, addr: str, theirs: tuple[str, ...]) -> None:
        now = self._now()
        lately = {other: met for other, met in self._others.items() if met[0] >= now - SHOWN_S}
        if len(lately) < OTHERS_MAX or addr in lately:
            lately[addr] = (now, theirs)
        self._others = lately

    @property
    def others(self) -> dict[str, tuple[str, ...]]:
        """The nodes with another list that were met lately, each with its list."""
        since = self._now() - SHOWN_S
        return {addr: hosts for addr, (met_at, hosts) in sorted(self._others.items()) if met_at >= since}
