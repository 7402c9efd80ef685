"""Whether what a directory holds may go on under the list of hosts that its node has now.

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


def ensure_may_go_on(replica: Replica, hosts: Collection[str], *, holds_nothing: bool) -> None:
    """Note the list of now in the directory; `holds_nothing`: it is that of a fresh node.

    Raises ConfigurationError where the list of before had too many hosts more.
    """
    now = sorted(hosts)
    with replica.snapshot() as reading:
        stored = reading.journal.get_meta(HOSTS)
    before = now if stored is None else json.loads(stored)
    if before == now and stored is not None:
        return
    if not holds_nothing and not majorities_meet(before, now):
        gone = ", ".join(sorted(set(before) - set(now)))
        raise ConfigurationError(
            f"HA_HOSTS has {len(now)} hosts, and {replica.directory} is from a cluster of {len(before)}: {gone} are "
            "gone at once, and may alone have what was acknowledged. Expected: one host less each time, with health "
            f"good in between; or, to begin with empty caches, {replica.directory} removed on every host"
        )
    try:
        with replica.write() as transaction:
            transaction.journal.put_meta(HOSTS, json.dumps(now).encode())
    except ReplicaError as error:
        # The next start notes it. A full file system must not keep the node from making room.
        logger.warning("the list of hosts could not be noted in %s: %s", replica.directory, error)
