"""Changes carried out by the worker itself, on a replica that only this machine uses. Knows no node."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from django_hacache.changes import (
    DONE,
    NOT_DONE,
    Batch,
    Clear,
    Increment,
    Insert,
    Outcome,
    Remove,
    Touch,
    When,
    Why,
)
from django_hacache.replica.clock import NEVER, boottime_ns
from django_hacache.replica.eviction import standalone_write
from django_hacache.serializers import decode_integer, encode

if TYPE_CHECKING:
    from django_hacache.changes import Change
    from django_hacache.conf import AckLevel
    from django_hacache.process import StandaloneSite
    from django_hacache.replica.eviction import Limits
    from django_hacache.replica.transaction import WriteTransaction


class StandaloneWriter:
    """Each change is one LMDB transaction: atomic across all processes of this machine."""

    def __init__(self, cache: str, limits: Limits, site: StandaloneSite) -> None:
        """Take the cache's name and limits, and what this process has open of its location."""
        self._cache = cache
        self._limits = limits
        self._site = site

    def perform(self, change: Change, *, ack: AckLevel, deadline: float) -> Outcome:  # noqa: ARG002
        """Carry out `change`; there is nobody to wait for, so `ack` and `deadline` do not matter.

        Raises ReplicaError where the replica cannot be written.
        """
        cache = self._cache
        return standalone_write(
            self._site.reader, cache, self._limits, lambda txn: _apply(txn, cache, change)
        )


class AsyncStandaloneWriter:
    """The same for coroutines: a write takes microseconds, a thread would cost more."""

    def __init__(self, writer: StandaloneWriter) -> None:
        self._writer = writer

    async def perform(self, change: Change, *, ack: AckLevel, deadline: float) -> Outcome:
        return self._writer.perform(change, ack=ack, deadline=deadline)


def _apply(txn: WriteTransaction, cache: str, change: Change) -> Outcome:
    match change:
        case Insert():
            return _insert(txn, cache, change)
        case Remove():
            return Outcome(txn.delete(cache, change.key))
        case Touch():
            return _touch(txn, cache, change)
        case Increment():
            return _increment(txn, cache, change)
        case Clear():
            txn.clear(cache)
            return DONE
        case Batch():
            return Outcome(
                effective=True, each=tuple(_apply(txn, cache, part).effective for part in change.changes)
            )
        case _:
            assert_never(change)


def _insert(txn: WriteTransaction, cache: str, change: Insert) -> Outcome:
    if change.when is When.ABSENT and txn.item(cache, change.key) is not None:
        return NOT_DONE
    if change.when is When.UNCHANGED:
        item = txn.item(cache, change.key)
        if item is None or item.version != change.version:
            return NOT_DONE
    txn.set(
        cache,
        change.key,
        change.value,
        version=txn.next_version(),
        expires_at=_expires_at(change.ttl_ms),
        keep_ttl=change.keep_ttl,
    )
    return DONE


def _touch(txn: WriteTransaction, cache: str, change: Touch) -> Outcome:
    if txn.item(cache, change.key) is None:
        return NOT_DONE
    expires_at = _expires_at(change.ttl_ms)
    return Outcome(txn.touch(cache, change.key, version=txn.next_version(), expires_at=expires_at))


def _increment(txn: WriteTransaction, cache: str, change: Increment) -> Outcome:
    item = txn.item(cache, change.key)
    if item is None:
        return Outcome(effective=False, why=Why.ABSENT)
    number = decode_integer(item.value)
    if number is None:
        return Outcome(effective=False, why=Why.NOT_AN_INTEGER)
    number += change.delta
    version = txn.next_version()
    txn.set(cache, change.key, encode(number), version=version, expires_at=NEVER, keep_ttl=True)
    return Outcome(effective=True, number=number)


def _expires_at(ttl_ms: int | None) -> int:
    return NEVER if ttl_ms is None else boottime_ns() + ttl_ms * 1_000_000
