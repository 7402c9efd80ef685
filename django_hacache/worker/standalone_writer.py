"""Changes carried out by the worker itself, on a replica that only this machine uses. Knows no node.

Each is one LMDB transaction: atomic across all processes of this machine. What has expired and what is beyond the
limits goes with the writes, a few entries at a time (see replica/eviction.py); where there is no room, old entries
make some.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_hacache.exceptions import ReplicaFull
from django_hacache.replica.eviction import WRITES_A_STEP, some_of
from django_hacache.replica.transaction import WriteTransaction
from django_hacache.system.interruption import ensure_own
from django_hacache.worker.standalone_store import StandaloneStore

if TYPE_CHECKING:
    from django_hacache.changes.outcome import Outcome
    from django_hacache.changes.vocabulary import Change
    from django_hacache.conf import AckLevel
    from django_hacache.replica.eviction import Limits
    from django_hacache.replica.replica import Replica
    from django_hacache.values.signing import Codec
    from django_hacache.worker.sites import StandaloneSite

# Of the size limit: after so large a write a step follows at once, so that bulk loads do not outrun it.
LARGE_SHARE = 2048

# What a write that finds no room frees before it is tried again, one in so many entries; after the last one all are
# gone. The steps are small: a removal takes pages before it frees any.
SHARES_TO_FREE = (64, 8, 2, 1)
STEP_KEYS, STEP_SHARE = 64, 8


class StandaloneWriter:
    """The writer of one cache."""

    pipelined = None

    def __init__(self, cache: str, limits: Limits, site: StandaloneSite, codec: Codec) -> None:
        """Take the cache's name and limits, what this process has open of its location, and how values are stored."""
        self._cache = cache
        self._limits = limits
        self._site = site
        self._codec = codec

    def perform(self, change: Change, *, ack: AckLevel, deadline: float) -> Outcome:  # noqa: ARG002
        """Carry out `change`; there is nobody to wait for, so `ack` and `deadline` do not matter.

        Where the map or the file system is full, old entries make room and it is carried out again, in a new
        transaction. Raises ReplicaFull where even an empty cache leaves no room, ReplicaError where the replica cannot
        be written.
        """
        replica = self._site.reader
        try:
            return replica.transact(StandaloneStore, self._carry_out, change)
        except ReplicaFull as full:
            ensure_own(full)
        for share in SHARES_TO_FREE:
            self._make_room(replica, share)
            try:
                return replica.transact(StandaloneStore, self._carry_out, change)
            except ReplicaFull as full:
                ensure_own(full)
                if share == 1:
                    raise
        raise AssertionError("the last share is 1")

    async def aperform(self, change: Change, *, ack: AckLevel, deadline: float) -> Outcome:
        """The same for coroutines: a write takes microseconds, a thread would cost more."""
        return self.perform(change, ack=ack, deadline=deadline)

    def _carry_out(self, store: StandaloneStore, change: Change) -> Outcome:
        """Carry out `change` and keep the cache within its limits.

        Each eighth write of all processes reclaims, and each one that is large or has a count to keep: looking costs
        as much as writing.
        """
        store.codec = self._codec
        outcome = change.carry_out(store, self._cache)
        limits = self._limits
        if (
            store.id % WRITES_A_STEP == 0
            or store.inserted * LARGE_SHARE > limits.size_limit
            or limits.max_entries is not None
        ):
            store.reclaim(self._cache, limits)
        return outcome

    def _make_room(self, replica: Replica, share: int) -> None:
        """Remove the oldest one in `share` entries, in small steps."""
        if share == 1:
            replica.transact(WriteTransaction, WriteTransaction.clear, self._cache)
            return
        step, left = STEP_KEYS, max(replica.usage(self._cache).entries // share, 1)
        while left > 0:
            count = min(step, left)
            try:
                left -= max(replica.transact(WriteTransaction, self._remove_oldest, count), 1)
            except ReplicaFull as full:
                ensure_own(full)
                if step == 1:
                    return
                step //= STEP_SHARE

    def _remove_oldest(self, transaction: WriteTransaction, count: int) -> int:
        cache = self._cache
        return transaction.remove_keys(
            cache, transaction.oldest(cache, some_of(transaction.usage(cache), count))
        )
