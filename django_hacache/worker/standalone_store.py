"""The store that changes are carried out on where only this machine uses the replica: one of its write transactions.

It gives the versions, time is that of this machine, and what has to go goes with its writes: in a cluster the leader
says so. Knows neither writers nor who writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from django_hacache.replica import eviction
from django_hacache.replica.clock import NEVER, boottime_ns, is_live
from django_hacache.replica.eviction import EXPIRED_LOOKS_A_STEP
from django_hacache.replica.layout import HEADER, HEADER_BYTES, header_of, replica_key
from django_hacache.replica.transaction import VERSION_BITS, WriteTransaction

if TYPE_CHECKING:
    from django_hacache.replica.eviction import Limits
    from django_hacache.values.signing import Codec

GOING = b"going:"

_header = HEADER.pack


class Seen(NamedTuple):
    """A live entry as the transaction sees it: nothing is copied, and the value is valid until the next change."""

    value: memoryview
    version: int
    expires_at: int


class StandaloneStore(WriteTransaction):
    """See changes/store.py."""

    codec: Codec

    def find(self, cache: str, key: str) -> Seen | None:
        raw = self._txn.get(replica_key(key), None, self._caches.get(cache) or self._database(cache))
        if raw is None:
            return None
        expires_at, version = header_of(raw)
        return Seen(raw[HEADER_BYTES:], version, expires_at) if is_live(expires_at) else None

    def put(self, cache: str, key: str, value: bytes | memoryview, ttl_ms: int | None) -> None:
        # As set() and next_version() do it, without a call: this is the way of most writes, and others wait meanwhile.
        expires_at = NEVER if ttl_ms is None else self.begun_ns + ttl_ms * 1_000_000
        self._versions = versions = self._versions + 1
        self.inserted += len(value)
        header = _header(expires_at, self.id << VERSION_BITS | versions)
        database = self._caches.get(cache) or self._database(cache)
        self._txn.put(replica_key(key), header + value, True, True, False, database)

    def put_if_absent(self, cache: str, key: str, value: bytes, ttl_ms: int | None) -> bool:
        expires_at = NEVER if ttl_ms is None else self.begun_ns + ttl_ms * 1_000_000
        return self.add(cache, key, value, version=self.next_version(), expires_at=expires_at)

    def replace(self, cache: str, key: str, value: bytes, found: Seen) -> None:
        # Nothing can have changed since, so the time to live that was seen is the one to keep.
        self.set(cache, key, value, version=self.next_version(), expires_at=found.expires_at)

    def renew(self, cache: str, key: str, found: Seen, ttl_ms: int | None) -> bool:
        self.put(cache, key, found.value, ttl_ms)
        return True

    def remove(self, cache: str, key: str) -> bool:
        return self.delete(cache, key)

    def codec_of(self, cache: str) -> Codec:  # noqa: ARG002 - it is one cache's
        return self.codec

    def reclaim(self, cache: str, limits: Limits) -> None:
        """One bounded step: remove what has expired, then what is above the limits.

        Not looked for in a read before the lock is taken: a process that has lost the processor in one keeps pages of
        thousands of writes from being used again, and the file grows by them.
        """
        gone = self.expired(cache, boottime_ns(), EXPIRED_LOOKS_A_STEP)
        if gone:
            self.remove_keys(cache, (one.key for one in gone))
        surplus = self.surplus(cache, limits)
        if surplus:
            self.remove_keys(cache, surplus)

    def surplus(self, cache: str, limits: Limits) -> list[bytes]:
        """Old replica keys that have to go for the cache to be within `limits` (see eviction.surplus)."""
        used = self.usage(cache)
        size = max(used.bytes - limits.size_limit, self._missing_headroom())
        if size > 0:
            size = max(size, 2 * self.inserted)
        going = self._going(cache) if limits.max_entries is not None else 0
        wanted = eviction.surplus(used, limits, size, going=going)
        left = 0 if wanted is None else wanted.left
        if left != going:
            self.set_host_mark(GOING + cache.encode(), left.to_bytes(8, "big"))
        return [] if wanted is None else self.oldest(cache, wanted)

    def _going(self, cache: str) -> int:
        """How many entries the last step has left to go."""
        return int.from_bytes(self.host_mark(GOING + cache.encode()) or b"", "big")

    def _missing_headroom(self) -> int:
        """Bytes that have to be freed so that the next writes find room where the file can hardly grow."""
        map_bytes, file_bytes = self.environment.lengths()
        growth = min(self.environment.growth_bytes(), map_bytes - file_bytes)
        if growth >= eviction.HEADROOM_BYTES:
            return 0
        return eviction.HEADROOM_BYTES - self.room().free
