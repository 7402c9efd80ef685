"""What one LMDB transaction can do with the caches: read them as they are at one instant, or change them.

What a change does depends on the entries that are present, never on the clock. So replicas that apply the same changes
stay equal, although an entry expires at a different instant on each. Whether an entry is live (is_live) decides only
what readers and conditions see.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import lmdb

from django_hacache.exceptions import ReplicaError
from django_hacache.replica import eviction
from django_hacache.replica.clock import is_live
from django_hacache.replica.clock_sweep import ClockSweep
from django_hacache.replica.journal import Journal, JournalReader
from django_hacache.replica.layout import (
    ENTRIES,
    FIXED,
    HEADER,
    HEADER_BYTES,
    MAX_CACHES,
    Entry,
    cache_name_bytes,
    can_name_cache,
    header_of,
    replica_key,
)
from django_hacache.replica.mapped import PAGE_BYTES
from django_hacache.replica.room import Room, Usage
from django_hacache.system.interruption import ensure_own

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType
    from typing import Self

    from django_hacache.replica.clock_sweep import SweptEntry
    from django_hacache.replica.environment import Environment
    from django_hacache.replica.eviction import Surplus

_header = HEADER.pack

# As the releases before have stored them.
EXPIRY_SWEEP, AGE_SWEEP, ROOM_SWEEP = b"hand.expiry:", b"hand.age:", b"hand.room:"
VERSION_BITS = 20
"""Standalone versions are the transaction's id and, below it, this many bits of a counter."""


class Item(NamedTuple):
    """A value with what is known of it; `expires_at` in boot-time ns, or NEVER."""

    value: bytes
    version: int
    expires_at: int


class ReadTransaction:
    """All caches and the journal as they are at one instant."""

    def __init__(
        self,
        environment: Environment,
        txn: lmdb.Transaction[bytes | memoryview],
        caches: dict[str, lmdb._Database],
    ) -> None:
        self.environment = environment
        self._txn = txn
        self._caches = caches
        # Where the sweeps stand, by their marks: whoever looks again gives the same dict.
        self.sweeps: dict[bytes, bytes] = {}

    def _database(self, cache: str) -> lmdb._Database | None:
        return self._caches.get(cache)

    @property
    def journal(self) -> JournalReader:
        """The journal as this transaction sees it."""
        return JournalReader(self._txn, self.environment.fixed)

    def caches(self) -> list[str]:
        """The names of all caches that were ever written to, sorted."""
        return caches(self._txn)

    def present(self, cache: str, key: str) -> Item | None:
        """Return the stored entry, expired or not."""
        database = self._caches.get(cache) or self._database(cache)
        try:
            raw = self._txn.get(replica_key(key), None, database) if database else None
        except lmdb.BadDbiError as error:
            ensure_own(error)
            return None  # another process has dropped the cache: it was empty
        return None if raw is None else item_of(raw)

    def item(self, cache: str, key: str) -> Item | None:
        """Return the live entry."""
        found = self.present(cache, key)
        return found if found and is_live(found.expires_at) else None

    def usage(self, cache: str) -> Usage:
        """Return how much room the cache takes; takes the same time however full it is."""
        database = self._database(cache)
        return usage(self._txn, database) if database else Usage(0, 0)

    def items(self, cache: str, after: bytes = b"") -> Iterator[Entry]:
        """The stored entries of a cache after a replica key, in the order of the keys.

        Valid while the transaction lasts.
        """
        database = self._database(cache)
        if database is None:
            return
        with self._txn.cursor(db=database) as cursor:
            if after and not cursor.set_range(after):
                return
            for key, raw in cursor:
                if key == after:
                    continue
                expires_at, version = header_of(raw)
                yield Entry(bytes(key), bytes(raw[HEADER_BYTES:]), version, expires_at)

    def room(self) -> Room:
        """Return how much room the file has."""
        environment = self.environment
        used = sum(usage(self._txn, database).bytes for database in environment.fixed)
        used += sum(self.usage(cache).bytes for cache in self.caches())
        map_bytes, file_bytes = environment.lengths()
        return Room(map_bytes, file_bytes, used, environment.growth_bytes())

    def expired(self, cache: str, now_ns: int, looks: int) -> list[SweptEntry]:
        """What has expired at `now_ns`, of the `looks` entries that the sweep comes to next."""
        with self._sweep(EXPIRY_SWEEP, cache) as sweep:
            return sweep.expired(now_ns, looks) if sweep else []

    def oldest(self, cache: str, wanted: Surplus) -> list[bytes]:
        """Old replica keys: what is wanted of the entries that the sweep comes to next."""
        with self._sweep(AGE_SWEEP, cache) as sweep:
            return eviction.oldest(sweep, wanted) if sweep else []

    def neighbours(self, cache: str, count: int) -> list[bytes]:
        """So many replica keys that stand together, whatever their age; where they end the next call goes on."""
        with self._sweep(ROOM_SWEEP, cache) as sweep:
            return [one.key for one in sweep.look(count)] if sweep else []

    @contextmanager
    def _sweep(self, kind: bytes, cache: str) -> Iterator[ClockSweep | None]:
        """One sweep of a cache, for the length of a step; None where there is no such cache."""
        database = self._database(cache)
        if database is None:
            yield None
            return
        mark = kind + cache.encode()
        with self._txn.cursor(db=database) as cursor:
            sweep = ClockSweep(cursor, self._sweep_state(mark))
            yield sweep
        self._keep_sweep_state(mark, sweep.state())

    def host_mark(self, name: bytes) -> bytes | None:
        """What this host noted of the replica itself: of no meaning to other hosts."""
        value = self._txn.get(name, None, self.environment.fixed.host)
        return None if value is None else bytes(value)

    def _sweep_state(self, mark: bytes) -> bytes:
        return self.sweeps.get(mark, b"")

    def _keep_sweep_state(self, mark: bytes, state: bytes) -> None:
        self.sweeps[mark] = state


class WriteTransaction(ReadTransaction):
    """The one write transaction. As a context manager it commits at the end and aborts on an exception."""

    _txn: lmdb.Transaction[memoryview]
    opened: dict[str, lmdb._Database] | None = None
    """The databases of caches that this transaction is the first of the process to need."""
    begun_ns = 0
    """When it was asked for (boot time), before others were waited for."""
    _versions = 0
    inserted = 0
    """Bytes of values."""

    def __init__(self, environment: Environment, txn: lmdb.Transaction[memoryview] | None = None) -> None:
        """Take the write transaction that somebody else ends, or begin one."""
        # What the base class notes, without a call: this is on the way of every write. So LMDB's methods are
        # called with positional arguments here: naming one takes longer than a frame of Python.
        self.environment = environment
        self._txn = txn = txn or self._begun()
        self._caches = environment.caches
        self.id: int = txn.id()

    def _begun(self) -> lmdb.Transaction[memoryview]:
        writing = self.environment.writing
        with writing:
            begun = self.environment.begin_write()
            writing.acquire()  # until __exit__
            return begun

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._txn.commit()
                self.committed()
            else:
                self._txn.abort()
        except lmdb.Error as failure:
            ensure_own(failure)
            raise self.environment.error(failure) from failure
        finally:
            self.environment.writing.release()
        if isinstance(error, lmdb.Error):
            raise self.environment.error(error) from error

    def committed(self) -> None:
        """Called when the transaction has been committed: what it has opened is there for others now."""
        if self.opened:
            self.environment.caches.update(self.opened)

    def _database(self, cache: str) -> lmdb._Database:
        found = self._caches.get(cache)
        if found is None:
            if self.opened is None:
                self.opened = {}
            found = self.opened.get(cache)
            if found is None:
                self._make_room_for(cache)
                found = self.opened[cache] = self.environment.open_in(self._txn, cache)
        return found

    def _make_room_for(self, cache: str) -> None:
        """Where the table of names is full, drop a cache without entries: it is no less empty without its name."""
        present = self.caches()
        if cache in present or len(present) < MAX_CACHES:
            return
        empty = next((name for name in present if not self.usage(name).entries), None)
        if empty is not None:
            database = self._database(empty)
            # LMDB closes the handle at once, whatever becomes of this transaction: it must not be used any more.
            self.environment.caches.pop(empty, None)
            if self.opened is not None:
                self.opened.pop(empty, None)
            self._txn.drop(database)

    def refuses(self, cache: str) -> str:
        """Why this replica, and every one with the same contents, can hold no such cache; empty where it can."""
        if cache in self._caches:
            return ""
        try:
            cache_name_bytes(cache)
        except ReplicaError as error:
            ensure_own(error)
            return str(error)
        present = self.caches()
        if cache in present or len(present) < MAX_CACHES or not all(self.usage(c).entries for c in present):
            return ""
        return f"{MAX_CACHES} other caches have entries, and that is all that a replica can hold"

    @property
    def journal(self) -> Journal:
        """The journal; it changes together with the caches or not at all."""
        return Journal(self._txn, self.environment.fixed)

    def set_host_mark(self, name: bytes, value: bytes) -> None:
        """Note something of the replica itself."""
        self._txn.put(name, value, db=self.environment.fixed.host)

    def next_version(self) -> int:
        """A version that is larger than every one before it in this replica (standalone only)."""
        self._versions += 1
        return (self.id << VERSION_BITS) | self._versions

    def set(
        self,
        cache: str,
        key: str,
        value: bytes | memoryview,
        *,
        version: int,
        expires_at: int,
        keep_ttl: bool = False,
    ) -> None:
        """Store `value`; with `keep_ttl` a present entry's `expires_at` stays."""
        encoded = replica_key(key)
        if keep_ttl and (found := self._header(cache, encoded)) is not None:
            expires_at = found[0]
        self.inserted += len(value)
        database = self._caches.get(cache) or self._database(cache)
        self._txn.put(encoded, _header(expires_at, version) + value, True, True, False, database)

    def put_raw(self, cache: str, key: bytes, value: bytes, *, version: int, expires_at: int) -> None:
        """Store an entry under its replica key."""
        self.inserted += len(value)
        self._txn.put(key, _header(expires_at, version) + value, db=self._database(cache))

    def add(self, cache: str, key: str, value: bytes, *, version: int, expires_at: int) -> bool:
        """Store `value` unless there is a live entry; whether it was stored."""
        encoded, data = replica_key(key), _header(expires_at, version) + value
        database = self._caches.get(cache) or self._database(cache)
        if not self._txn.put(encoded, data, True, False, False, database):
            found = self._header(cache, encoded)
            if found is not None and is_live(found[0]):
                return False
            self._txn.put(encoded, data, db=database)
        self.inserted += len(value)
        return True

    def _header(self, cache: str, key: bytes) -> tuple[int, int] | None:
        """When the present entry expires, and its version."""
        raw = self._txn.get(key, None, self._caches.get(cache) or self._database(cache))
        if raw is None:
            return None
        return header_of(raw)

    def touch(self, cache: str, key: str, *, version: int, expires_at: int) -> bool:
        """Give a present entry, expired or not, a new `expires_at` and `version`; False without one."""
        raw = self._txn.get(replica_key(key), None, self._caches.get(cache) or self._database(cache))
        if raw is None:
            return False
        self.set(cache, key, raw[HEADER_BYTES:], version=version, expires_at=expires_at)
        return True

    def delete(self, cache: str, key: str) -> bool:
        """Remove an entry; True where a live one was there (a present expired one goes too)."""
        encoded = replica_key(key)
        found = self._header(cache, encoded)
        if found is None:
            return False
        self._txn.delete(encoded, b"", self._database(cache))
        return is_live(found[0])

    def remove_keys(self, cache: str, keys: Iterable[bytes]) -> int:
        """Remove entries by replica key; how many were present."""
        delete, database = self._txn.delete, self._database(cache)
        return sum(delete(key, db=database) for key in keys)

    def clear(self, cache: str) -> None:
        """Empty one cache."""
        self._txn.drop(self._database(cache), delete=False)

    def empty(self) -> None:
        """Empty every cache; the journal stays."""
        for cache in self.caches():
            self.clear(cache)

    def forget_other_formats(self) -> None:
        """Remove the databases that this version does not know."""
        for name in names(self._txn):
            if name not in FIXED and not name.startswith(ENTRIES):
                self._txn.drop(self.environment.lmdb.open_db(name, txn=self._txn))

    def _sweep_state(self, mark: bytes) -> bytes:
        return self.host_mark(mark) or b""

    def _keep_sweep_state(self, mark: bytes, state: bytes) -> None:
        self.set_host_mark(mark, state)


def item_of(raw: bytes | memoryview) -> Item:
    """The item that is stored as `raw`."""
    expires_at, version = header_of(raw)
    return Item(bytes(raw[HEADER_BYTES:]), version, expires_at)


def usage(txn: lmdb.Transaction[bytes | memoryview], database: lmdb._Database) -> Usage:
    """The pages of a cache's database, and its entries."""
    stat = txn.stat(database)
    pages = stat["leaf_pages"] + stat["branch_pages"] + stat["overflow_pages"]
    return Usage(stat["entries"], pages * PAGE_BYTES)


def names(txn: lmdb.Transaction[bytes | memoryview]) -> list[bytes]:
    """The names of all databases, sorted."""
    with txn.cursor() as cursor:
        return [bytes(name).rstrip(b"\0") for name in cursor.iternext(values=False)]  # LMDB 1.0 adds a NUL


def caches(txn: lmdb.Transaction[bytes | memoryview]) -> list[str]:
    """The names of the caches that have a database, sorted."""
    of_entries = (name.removeprefix(ENTRIES) for name in names(txn) if name.startswith(ENTRIES))
    return [name.decode() for name in of_entries if can_name_cache(name)]
