"""What one LMDB transaction may do with the caches: read a consistent picture, or change them.

What a change does depends only on what is physically present, never on the clock: replicas that apply
the same changes stay equal, although an entry expires at a different instant on each. Liveness (is_live)
decides only what readers and conditions see.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from django_hacache.exceptions import ReplicaError
from django_hacache.replica import eviction
from django_hacache.replica.clock import NEVER, is_live
from django_hacache.replica.environment import PAGE_BYTES
from django_hacache.replica.journal import Journal, JournalReader
from django_hacache.replica.layout import (
    ENTRIES,
    EXPIRY_KEY,
    HEADER,
    HEADER_BYTES,
    ORDER_KEY,
    Entry,
    replica_key,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType
    from typing import Self

    import lmdb

    from django_hacache.replica.environment import CacheDatabases, Environment
    from django_hacache.replica.eviction import Limits

VERSION_BITS = 20
"""Standalone versions are the transaction's id and, below it, this many bits of a counter."""


class Item(NamedTuple):
    """A value with what is known of it; `expires_at` in boot-time ns, or NEVER."""

    value: bytes
    version: int
    expires_at: int


class Usage(NamedTuple):
    """What a cache takes: entries that are present (expired ones included), and bytes of LMDB's pages."""

    entries: int
    bytes: int


class ReadTransaction:
    """One consistent picture of all caches and the journal."""

    def __init__(
        self, environment: Environment, txn: lmdb.Transaction[bytes], caches: dict[str, CacheDatabases]
    ) -> None:
        self.environment = environment
        self._txn = txn
        self._caches = caches

    def _databases(self, cache: str) -> CacheDatabases | None:
        return self._caches.get(cache)

    @property
    def journal(self) -> JournalReader:
        """The journal of the same picture."""
        return JournalReader(self._txn, self.environment.fixed)

    def caches(self) -> list[str]:
        """The names of all caches that were ever written to, sorted."""
        return names(self._txn)

    def present(self, cache: str, key: str) -> Item | None:
        """The entry that is stored, expired or not."""
        databases = self._databases(cache)
        raw = self._txn.get(replica_key(key), db=databases.entries) if databases else None
        return None if raw is None else item_of(raw)

    def item(self, cache: str, key: str) -> Item | None:
        """The entry that a reader may see now."""
        found = self.present(cache, key)
        return found if found and is_live(found.expires_at) else None

    def usage(self, cache: str) -> Usage:
        """What the cache takes; costs the same however full it is."""
        databases = self._databases(cache)
        return usage(self._txn, databases) if databases else Usage(0, 0)

    def items(self, cache: str) -> Iterator[Entry]:
        """All stored entries of a cache, oldest version first. Valid while the transaction lasts."""
        databases = self._databases(cache)
        if databases is None:
            return
        with self._txn.cursor(db=databases.order) as cursor:
            for _, key in cursor:
                raw = self._txn.get(key, db=databases.entries)
                if raw is None:
                    raise ReplicaError(
                        f"{self.environment.path}: an entry of cache {cache!r} has an order but no value"
                    )
                expires_at, version = HEADER.unpack_from(raw)
                yield Entry(key, raw[HEADER_BYTES:], version, expires_at)

    def digest(self) -> bytes:
        """SHA-256 over (cache, key, value, version) of everything present: equal for equal replicas."""
        total = sha256()
        for cache in self.caches():
            for entry in self.items(cache):
                for part in (cache.encode(), entry.key, entry.value, ORDER_KEY.pack(entry.version)):
                    total.update(len(part).to_bytes(8, "big"))
                    total.update(part)
        return total.digest()


class WriteTransaction(ReadTransaction):
    """The one write transaction. As a context manager it commits at the end and aborts on an exception."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment, environment.begin_write(), environment.caches)
        self.id: int = self._txn.id()
        self.inserted = 0  # bytes of values
        self._opened: dict[str, CacheDatabases] = {}
        self._versions = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            try:
                self._txn.commit()
            except Exception as failure:
                self._txn.abort()
                raise self.environment.error(failure) from failure
            if self._opened:
                self.environment.caches.update(self._opened)
            return
        self._txn.abort()
        if type(error).__module__.partition(".")[0] == "lmdb" and isinstance(error, Exception):
            raise self.environment.error(error) from error

    def _databases(self, cache: str) -> CacheDatabases:
        found = self._caches.get(cache) or self._opened.get(cache)
        if found is None:
            found = self._opened[cache] = self.environment.open_in(self._txn, cache)
        return found

    @property
    def journal(self) -> Journal:
        """The journal; it changes together with the caches or not at all."""
        return Journal(self._txn, self.environment.fixed)

    def host_mark(self, name: bytes) -> bytes | None:
        """What this host noted of the replica itself: of no meaning to other hosts."""
        return self._txn.get(name, db=self.environment.fixed.host)

    def set_host_mark(self, name: bytes, value: bytes) -> None:
        """Note something of the replica itself."""
        self._txn.put(name, value, db=self.environment.fixed.host)

    def next_version(self) -> int:
        """A version that is larger than every one before it in this replica (standalone only)."""
        self._versions += 1
        return (self.id << VERSION_BITS) | self._versions

    def set(
        self, cache: str, key: str, value: bytes, *, version: int, expires_at: int, keep_ttl: bool = False
    ) -> None:
        """Store `value`; with `keep_ttl` a present entry's `expires_at` stays.

        A version may name one key of a cache only: ReplicaError otherwise.
        """
        self._put(cache, replica_key(key), value, version, expires_at, keep_ttl=keep_ttl)

    def put_raw(self, cache: str, key: bytes, value: bytes, *, version: int, expires_at: int) -> None:
        """Store an entry of a snapshot under its replica key."""
        self._put(cache, key, value, version, expires_at, keep_ttl=False)

    def _put(
        self, cache: str, key: bytes, value: bytes, version: int, expires_at: int, *, keep_ttl: bool
    ) -> None:
        txn, databases = self._txn, self._databases(cache)
        self.inserted += len(value)
        old = txn.get(key, db=databases.entries)
        if old is not None:
            old_expires_at, old_version = HEADER.unpack_from(old)
            self._remove_from_indexes(databases, old_version, old_expires_at)
            if keep_ttl:
                expires_at = old_expires_at
        if not txn.put(ORDER_KEY.pack(version), key, overwrite=False, db=databases.order):
            raise ReplicaError(f"version {version} of cache {cache!r} already names another key")
        txn.put(key, HEADER.pack(expires_at, version) + value, db=databases.entries)
        if expires_at != NEVER:
            txn.put(EXPIRY_KEY.pack(expires_at, version), key, db=databases.expiry)

    def _remove_from_indexes(self, databases: CacheDatabases, version: int, expires_at: int) -> None:
        self._txn.delete(ORDER_KEY.pack(version), db=databases.order)
        if expires_at != NEVER:
            self._txn.delete(EXPIRY_KEY.pack(expires_at, version), db=databases.expiry)

    def touch(self, cache: str, key: str, *, version: int, expires_at: int) -> bool:
        """Give a present entry, expired or not, a new `expires_at` and `version`; False without one."""
        found = self.present(cache, key)
        if found is None:
            return False
        self._put(cache, replica_key(key), found.value, version, expires_at, keep_ttl=False)
        return True

    def delete(self, cache: str, key: str) -> bool:
        """Remove an entry; True where a live one was there (a present expired one goes too)."""
        expires_at = self._remove(self._databases(cache), replica_key(key))
        return expires_at is not None and is_live(expires_at)

    def remove_keys(self, cache: str, keys: Iterable[bytes]) -> int:
        """Remove entries by replica key; how many were present."""
        databases = self._databases(cache)
        return sum(self._remove(databases, key) is not None for key in keys)

    def _remove(self, databases: CacheDatabases, key: bytes) -> int | None:
        raw = self._txn.pop(key, db=databases.entries)
        if raw is None:
            return None
        expires_at, version = HEADER.unpack_from(raw)
        self._remove_from_indexes(databases, version, expires_at)
        return int(expires_at)

    def clear(self, cache: str) -> None:
        """Empty one cache."""
        for database in self._databases(cache):
            self._txn.drop(database, delete=False)

    def empty(self) -> None:
        """Empty every cache; the journal stays."""
        for cache in self.caches():
            self.clear(cache)

    def expired(self, cache: str, now_ns: int, limit: int) -> list[bytes]:
        """Up to `limit` replica keys that have expired at `now_ns`, the longest expired first."""
        return eviction.expired(self._txn, self._databases(cache), now_ns, limit)

    def oldest(self, cache: str, limit: int) -> list[bytes]:
        """Up to `limit` replica keys, the oldest version first."""
        with self._txn.cursor(db=self._databases(cache).order) as cursor:
            return [key for key, _ in zip(cursor.iternext(keys=False), range(limit), strict=False)]

    def surplus(self, cache: str, limits: Limits) -> list[bytes]:
        """The oldest replica keys that have to go for the cache to be within `limits` (eviction.surplus)."""
        databases = self._databases(cache)
        used = usage(self._txn, databases)
        size = max(used.bytes - limits.size_limit, self.missing_headroom())
        if size > 0:
            size = max(size, 2 * self.inserted)
        return eviction.surplus(self._txn, databases, used.entries, limits, size)

    def missing_headroom(self) -> int:
        """Bytes that have to be freed so that the next writes find room on a nearly full file system."""
        growth = self.environment.growth_bytes()
        if growth >= eviction.HEADROOM_BYTES:
            return 0
        used = sum(self.usage(cache).bytes for cache in self.caches())
        return eviction.HEADROOM_BYTES - growth - (self.environment.file_bytes() - used)


def item_of(raw: bytes) -> Item:
    """The item that is stored as `raw`."""
    expires_at, version = HEADER.unpack_from(raw)
    return Item(raw[HEADER_BYTES:], version, expires_at)


def usage(txn: lmdb.Transaction[bytes], databases: CacheDatabases) -> Usage:
    """The pages of a cache's three databases, and its entries."""
    pages = entries = 0
    for database in databases:
        stat = txn.stat(database)
        pages += stat["leaf_pages"] + stat["branch_pages"] + stat["overflow_pages"]
        entries = entries or stat["entries"]
    return Usage(entries, pages * PAGE_BYTES)


def names(txn: lmdb.Transaction[bytes]) -> list[str]:
    """The names of the caches that have databases."""
    found = []
    with txn.cursor() as cursor:
        more = cursor.set_range(ENTRIES)
        while more and cursor.key().startswith(ENTRIES):
            found.append(cursor.key()[len(ENTRIES) :].rstrip(b"\0").decode())  # LMDB 1.0 ends names with NUL
            more = cursor.next()
    return found
