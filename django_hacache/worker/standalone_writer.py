"""Changes carried out by the worker itself, on a replica that only this machine uses. Knows no node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_hacache.changes.vocabulary import (
    DONE,
    NOT_DONE,
    Batch,
    Clear,
    Increment,
    Insert,
    Move,
    Outcome,
    Remove,
    Touch,
    When,
    Why,
)
from django_hacache.replica.clock import NEVER, boottime_ns
from django_hacache.replica.eviction import standalone_write

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_hacache.changes.vocabulary import Change
    from django_hacache.conf import AckLevel
    from django_hacache.replica.eviction import Limits
    from django_hacache.replica.transaction import WriteTransaction
    from django_hacache.values.signing import Codec
    from django_hacache.worker.process import StandaloneSite

    Apply = Callable[[WriteTransaction, str, Any], Outcome]

NOT_FOUND = Outcome(effective=False, why=Why.ABSENT)


class StandaloneWriter:
    """Each change is one LMDB transaction: atomic across all processes of this machine."""

    def __init__(self, cache: str, limits: Limits, site: StandaloneSite, codec: Codec) -> None:
        """Take the cache's name and limits, what this process has open of its location, and how values are stored."""
        self._cache = cache
        self._limits = limits
        self._site = site
        self._codec = codec
        self._applied_by: dict[type[Change], Apply] = {**_APPLIED_BY, Increment: self._increment}

    def perform(self, change: Change, *, ack: AckLevel, deadline: float) -> Outcome:  # noqa: ARG002
        """Carry out `change`; there is nobody to wait for, so `ack` and `deadline` do not matter.

        Raises ReplicaError where the replica cannot be written.
        """
        apply = self._applied_by[type(change)]
        return standalone_write(self._site.reader, self._cache, self._limits, apply, change)

    async def aperform(self, change: Change, *, ack: AckLevel, deadline: float) -> Outcome:
        """The same for coroutines: a write takes microseconds, a thread would cost more."""
        return self.perform(change, ack=ack, deadline=deadline)

    def _increment(self, txn: WriteTransaction, cache: str, change: Increment) -> Outcome:
        item = txn.item(cache, change.key)
        if item is None:
            return NOT_FOUND
        number = self._codec.integer(change.key, item.value)
        if number is None:
            return Outcome(effective=False, why=Why.NOT_AN_INTEGER)
        number += change.delta
        data = self._codec.encode(change.key, number)
        # Nothing can have changed since, so the time to live that was seen is the one to keep.
        txn.set(cache, change.key, data, version=txn.next_version(), expires_at=item.expires_at)
        return Outcome(effective=True, number=number)


def _insert(txn: WriteTransaction, cache: str, change: Insert) -> Outcome:
    key, value, ttl_ms, when, seen, keep_ttl = change
    expires_at, version = _expires_at(ttl_ms), txn.next_version()
    if when is When.ABSENT:
        added = txn.add(cache, key, value, version=version, expires_at=expires_at)
        return DONE if added else NOT_DONE
    if when is When.UNCHANGED:
        item = txn.item(cache, key)
        if item is None:
            return NOT_FOUND
        if item.version != seen:
            return NOT_DONE
    txn.set(cache, key, value, version=version, expires_at=expires_at, keep_ttl=keep_ttl)
    return DONE


def _touch(txn: WriteTransaction, cache: str, change: Touch) -> Outcome:
    if txn.item(cache, change.key) is None:
        return NOT_DONE
    expires_at = _expires_at(change.ttl_ms)
    return Outcome(txn.touch(cache, change.key, version=txn.next_version(), expires_at=expires_at))


def _remove(txn: WriteTransaction, cache: str, change: Remove) -> Outcome:
    return DONE if txn.delete(cache, change.key) else NOT_DONE


def _move(txn: WriteTransaction, cache: str, change: Move) -> Outcome:
    item = txn.item(cache, change.source)
    if item is None:
        return NOT_FOUND
    if item.version != change.version:
        return NOT_DONE
    txn.delete(cache, change.source)
    _APPLIED_BY[type(change.then)](txn, cache, change.then)
    return DONE


def _clear(txn: WriteTransaction, cache: str, _change: Clear) -> Outcome:
    txn.clear(cache)
    return DONE


def _batch(txn: WriteTransaction, cache: str, change: Batch) -> Outcome:
    each = tuple(_APPLIED_BY[type(part)](txn, cache, part).effective for part in change.changes)
    return Outcome(effective=True, each=each)


_APPLIED_BY: dict[type[Change], Apply] = {
    Insert: _insert,
    Remove: _remove,
    Touch: _touch,
    Move: _move,
    Clear: _clear,
    Batch: _batch,
}


def _expires_at(ttl_ms: int | None) -> int:
    return NEVER if ttl_ms is None else boottime_ns() + ttl_ms * 1_000_000
