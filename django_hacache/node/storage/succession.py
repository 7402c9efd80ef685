"""Succession: whether a node may go on with what its directory holds, after its list of hosts has changed.

What a majority of the hosts of before has acknowledged must be known to each majority of now. Where two of five hosts
are gone, two of the other three may lack what the third acknowledged with the two: they would lead without it.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from django_hacache.exceptions import ConfigurationError, ReplicaError

if TYPE_CHECKING:
    from collections.abc import Collection

    from django_hacache.replica.journal import JournalReader
    from django_hacache.replica.replica import Replica

logger = logging.getLogger("django_hacache.node")

HOSTS = "hosts"


def majority_of(hosts: Collection[str]) -> int:
    return len(hosts) // 2 + 1


def majorities_meet(before: Collection[str], now: Collection[str]) -> bool:
    """Whether each majority of `now`, made up of hosts of `before`, has one in common with each majority of that.

    Hosts that are new have nothing, and no vote until they have joined.
    """
    return majority_of(before) + majority_of(now) > len(set(before))


def noted_hosts(journal: JournalReader) -> list[str] | None:
    """The list that the directory is from, None where no leader was known yet. Raises ValueError where it is none."""
    stored = journal.get_meta(HOSTS)
    if stored is None:
        return None
    hosts = json.loads(stored)
    if not isinstance(hosts, list) or not all(isinstance(host, str) for host in hosts):
        raise ValueError("the list of hosts is no list of texts")
    return hosts


class Succession:
    """The list of hosts that a directory is from, and the one that its node has now."""

    def __init__(self, replica: Replica, hosts: Collection[str]) -> None:
        self._replica = replica
        self._now = sorted(hosts)
        with replica.snapshot() as reading:
            self._before = noted_hosts(reading.journal)

    def ensure_may_go_on(self) -> None:
        """Raises ConfigurationError where the list of before had too many hosts more.

        Not for a fresh node, which has nothing to go on with.
        """
        before, now, directory = self._before, self._now, self._replica.directory
        if before is None or majorities_meet(before, now):
            return
        gone = ", ".join(sorted(set(before) - set(now)))
        raise ConfigurationError(
            f"HA_HOSTS has {len(now)} hosts, and {directory} is from a cluster of {len(before)}: {gone} are gone at "
            "once, and may alone have what was acknowledged. Expected: one host less each time, with health good in "
            f"between; or, to begin with empty caches, {directory} removed on every host"
        )

    def note(self) -> None:
        """Store the list of now: a leader by it is known, and from its first word on majorities are those of this list.

        Call it before anything that follows from that leaves. A list that never had a leader was a mistake, and is
        forgotten with it.
        """
        if self._before == self._now:
            return
        try:
            with self._replica.write() as transaction:
                transaction.journal.put_meta(HOSTS, json.dumps(self._now).encode())
        except ReplicaError as error:
            # The next leader's word notes it. A full file system must not keep the node from making room.
            logger.warning("the list of hosts could not be noted in %s: %s", self._replica.directory, error)
        else:
            self._before = self._now
