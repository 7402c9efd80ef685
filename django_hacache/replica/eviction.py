"""Which entries have to go: expired ones first, then the oldest. Bounded work a call, never a scan.

Only chooses keys and, standalone, removes them; in a cluster the leader chooses and every replica removes
the same ones.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from django_hacache.exceptions import ReplicaFull
from django_hacache.replica.clock import boottime_ns
from django_hacache.replica.layout import EXPIRY_KEY, HEADER_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    import lmdb

    from django_hacache.replica.environment import CacheDatabases
    from django_hacache.replica.replica import Replica
    from django_hacache.replica.transaction import WriteTransaction

MAX_SURPLUS_KEYS = 4096
EXPIRED_KEYS_A_STEP = 64
WRITES_A_STEP = 8
LARGE_SHARE = 512  # of the size limit: eight smaller writes are a slack of 1.6 %
ENTRY_OVERHEAD_BYTES = HEADER_BYTES + 48
"""About what LMDB's nodes and the index entries add to a key and a value."""

HEADROOM_BYTES = 1024 * 1024
"""What is kept free in the file on a file system that is full: removing takes pages before it frees any."""

MAP_HEADROOM_BYTES = 64 * 1024 * 1024

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one cache may take: bytes of pages, entries (None: any number), and Django's CULL_FREQUENCY."""

    size_limit: int
    max_entries: int | None
    cull_frequency: int


def map_size_for(size_limits: int) -> int:
    """The map size (bytes) for caches with `size_limits` bytes in all: room for pages that reads pin."""
    return 4 * size_limits + MAP_HEADROOM_BYTES


def expired(txn: lmdb.Transaction[bytes], databases: CacheDatabases, now_ns: int, limit: int) -> list[bytes]:
    """Up to `limit` replica keys that have expired at `now_ns`, from the expiry index."""
    end = EXPIRY_KEY.pack(now_ns, 2**64 - 1)
    keys: list[bytes] = []
    with txn.cursor(db=databases.expiry) as cursor:
        more = cursor.first()
        while more and len(keys) < limit and cursor.key() <= end:
            keys.append(cursor.value())
            more = cursor.next()
    return keys


def surplus(
    txn: lmdb.Transaction[bytes], databases: CacheDatabases, entries: int, limits: Limits, size: int
) -> list[bytes]:
    """The oldest replica keys that have to go, oldest first; the newest entry always stays.

    With more than `max_entries` one of `cull_frequency` entries goes, as Django documents, and with 0 all of
    them. Besides, the oldest entries go that hold `size` bytes. At most MAX_SURPLUS_KEYS a call (with
    CULL_FREQUENCY 0: all): the next call goes on.
    """
    count = 0
    if limits.max_entries is not None and entries > limits.max_entries:
        if limits.cull_frequency == 0:
            count = entries
        else:
            count = max(entries // limits.cull_frequency, entries - limits.max_entries)
            count = min(count, MAX_SURPLUS_KEYS)
    if count <= 0 and size <= 0:
        return []
    keys: list[bytes] = []
    bound = max(count, MAX_SURPLUS_KEYS if size > 0 else 0)
    with txn.cursor(db=databases.order) as cursor:
        more = cursor.first()
        while more and len(keys) < bound and (len(keys) < count or size > 0):
            key = cursor.value()
            more = cursor.next()
            if not more:
                break
            keys.append(key)
            if size > 0:
                size -= len(txn.get(key, b"", db=databases.entries)) + len(key) + ENTRY_OVERHEAD_BYTES
    return keys


def standalone_write(
    replica: Replica, cache: str, limits: Limits, change: Callable[[WriteTransaction], _Result]
) -> _Result:
    """Run `change` in a write transaction and keep the cache within its limits.

    Each eighth write of all processes reclaims, and each one that is large or has a count to keep: looking
    costs as much as writing.

    Where the map or the file system is full, the oldest entries make room and `change` runs again, in a new
    transaction: it must not act outside it. Raises ReplicaFull where even an empty cache leaves no room.
    """
    try:
        return _write_once(replica, cache, limits, change)
    except ReplicaFull:
        pass
    for share in (64, 8, 2, 1):
        _make_room(replica, cache, share)
        with suppress(ReplicaFull):
            return _write_once(replica, cache, limits, change)
    return _write_once(replica, cache, limits, change)


def _write_once(
    replica: Replica, cache: str, limits: Limits, change: Callable[[WriteTransaction], _Result]
) -> _Result:
    with replica.write() as transaction:
        result = change(transaction)
        step_is_due = (
            transaction.id % WRITES_A_STEP == 0 or transaction.inserted * LARGE_SHARE > limits.size_limit
        )
        if step_is_due or limits.max_entries is not None:
            reclaim(transaction, cache, limits)
    return result


def reclaim(transaction: WriteTransaction, cache: str, limits: Limits) -> None:
    """One bounded step: remove what has expired, then what is above the limits."""
    gone = transaction.expired(cache, boottime_ns(), EXPIRED_KEYS_A_STEP)
    if gone:
        transaction.remove_keys(cache, gone)
    gone = transaction.surplus(cache, limits)
    if gone:
        transaction.remove_keys(cache, gone)


def _make_room(replica: Replica, cache: str, share: int) -> None:
    """Remove the oldest one in `share` entries, in small steps: a removal takes pages before it frees any."""
    if share == 1:
        with replica.write() as transaction:
            transaction.clear(cache)
        return
    step, left = 64, max(replica.usage(cache).entries // share, 1)
    while left > 0:
        try:
            with replica.write() as transaction:
                left -= max(transaction.remove_keys(cache, transaction.oldest(cache, min(step, left))), 1)
        except ReplicaFull:
            if step == 1:
                return
            step //= 8
