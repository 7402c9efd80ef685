"""The host's copy of every cache, as one process has it open. Every read and every write of a cache comes through here.

Knows LMDB by environment.py. Must not know a lease: leased_reader.py adds it for the workers of a cluster.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import lmdb

from django_hacache.exceptions import ReplicaBroken, ReplicaError
from django_hacache.replica.attempts import A, T, W, committed, read_all
from django_hacache.replica.clock import boot_id, boottime_ns, is_live
from django_hacache.replica.environment import Environment
from django_hacache.replica.layout import FORMAT, HEADER, HEADER_BYTES, MAX_KEY_BYTES, header_of, replica_key
from django_hacache.replica.opening import Membership, ensure_same_namespace
from django_hacache.replica.pair import FILE_NAME, set_aside
from django_hacache.replica.reading import VIEW_BYTES, live_value
from django_hacache.replica.transaction import Item, ReadTransaction, WriteTransaction, caches, item_of
from django_hacache.system.directory import ensure_private, open_private
from django_hacache.system.interruption import ensure_own

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from django_hacache.replica.room import Usage
    from django_hacache.system.directory import Directory

log = logging.getLogger(__name__)

MAINTENANCE_NS = 1_000_000_000
READER_CHECK_EVERY = 5  # maintenances
_IDENTITY_KEY = b"boot_id"
"""The host mark under which a replica notes its layout and boot."""

_header = HEADER.unpack_from


class Replica:
    """One opened replica. Threads share it; a forked child must `abandon` it and open its own."""

    def __init__(
        self,
        directory: Path,
        *,
        writable: bool,
        map_size: int,
        keeps_journal: bool,
        reserves: bool,
        boot: bytes,
    ) -> None:
        self.directory = directory
        self.writable = writable
        self._map_size = map_size
        self._keeps_journal = keeps_journal
        self._reserves = reserves or (False if keeps_journal else None)
        self._identity = FORMAT + boot
        self._maintaining = threading.Lock()
        self._maintenances = 0
        self._next_maintenance = 0  # boot time, ns
        self._membership: Membership | None = None
        self._environment = self._open()

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        writable: bool,
        map_size: int,
        keeps_journal: bool = False,
        reserves: bool = False,
        boot: bytes | None = None,
    ) -> Replica:
        """Open the replica in `directory`; with `writable` create what is missing.

        A new file of one that `reserves` is allocated before it is used, where the file system can promise that, and
        written to without system calls (see reserved.py). One that `keeps_journal` replaces such a file: its map could
        not become longer during its long reads.

        A replica from before the last boot, or of another layout, is void: a writer empties it, journal
        included. A writer moves a file that LMDB cannot read aside and starts empty. When the directory is
        wiped under a writer it starts empty again, unless it `keeps_journal`: then its writes raise, since a
        node must not forget.

        `map_size` in bytes (see eviction.map_size_for); `boot` names another boot than the current one.
        Raises ReplicaError naming the directory, ConfigurationError where other processes of another PID namespace,
        or another interpreter of this process, have it open.
        """
        return cls(
            directory,
            writable=writable,
            map_size=map_size,
            keeps_journal=keeps_journal,
            reserves=reserves,
            boot=boot or boot_id(),
        )

    def _open(self) -> Environment:
        if not self.writable:
            with open_private(self.directory) as directory:
                ensure_same_namespace(directory)
                return self._open_whole(directory, None)
        with ensure_private(self.directory) as directory:
            membership = self._membership
            if membership is None or membership.replaced():
                self._membership = membership = Membership(directory)
            found = directory.identity_of(FILE_NAME)
            try:
                return self._open_whole(directory, membership)
            except ReplicaBroken as error:
                ensure_own(error)
                set_aside(membership, directory, found, error)
            return self._open_whole(directory, membership)

    def _open_whole(self, directory: Directory, membership: Membership | None) -> Environment:
        size, reserves = self._map_size, self._reserves
        environment = Environment(directory, membership=membership, map_size=size, reserves=reserves)
        try:
            with environment.proven():
                self._ensure_of_this_boot(environment)
        except BaseException:
            environment.close()
            raise
        return environment

    def _ensure_of_this_boot(self, environment: Environment) -> None:
        with environment.errors(), environment.begin_read() as txn:
            current = txn.get(_IDENTITY_KEY, db=environment.fixed.host) == self._identity
        if not current and not self.writable:
            raise ReplicaError(
                f"the replica in {self.directory} is from before this machine was booted, or of another version"
            )
        if not current:
            self._void(environment)

    def _void(self, environment: Environment) -> None:
        """Empty a replica of another boot or layout: its boot-time instants or its bytes mean nothing here."""
        committed(environment, boottime_ns(), WriteTransaction, self._make_void, None)

    def _make_void(self, transaction: WriteTransaction, _: None) -> None:
        if transaction.host_mark(_IDENTITY_KEY) != self._identity:  # else another process was faster
            transaction.forget_other_formats()
            transaction.empty()
            transaction.journal.erase()
            transaction.set_host_mark(_IDENTITY_KEY, self._identity)

    def erase(self) -> None:
        """Forget everything, the journal included. The file stays: whoever has it mapped would keep its room taken."""
        with self.write() as transaction:
            transaction.empty()
            transaction.journal.erase()

    def set_aside(self, reason: ReplicaBroken) -> None:
        """Close a file that is damaged and move it away; this object is of no use after that.

        Raises ReplicaError, and nothing has happened, where the file is whole: then `reason` has another cause.
        """
        environment = self._environment
        try:
            environment.prove(reason)
        except ReplicaBroken as damage:
            ensure_own(damage)
            environment.close()
            assert self._membership is not None  # only a writer finds that a file is damaged, and moves it
            with open_private(self.directory) as directory:
                set_aside(self._membership, directory, environment.identity, damage)
        else:
            raise environment.whole(reason) from reason

    def start_over(self, reason: ReplicaBroken) -> None:
        """Go on with an empty replica in place of one that was found broken."""
        self.set_aside(reason)
        self._environment = self._open()

    def close(self) -> None:
        """Close it; safe to call again. Reads of other threads that are under way raise ReplicaError."""
        # In this order, as where it is dropped: another thread, which waits for LMDB, has its membership after that.
        self._membership = None
        self._environment.close()

    def abandon(self) -> None:
        """In a forked child: never use or close this one again, and let the child open its own.

        LMDB must not be used across a fork, and closing it in the child would free the parent's reader slots.
        """
        self._environment.leak()
        if self._membership is not None:
            self._membership.leak()

    def probe(self) -> None:
        """Begin a read transaction and end it. Raises ReplicaError where none can be begun."""
        with self._environment.errors(), self._environment.begin_read():
            pass

    def get(self, cache: str, key: str) -> bytes | memoryview | None:
        """The live value; None on a miss. What it returns is a copy and stays valid.

        py-lmdb's `buffers=True` and decoding inside the transaction were measured slower for ordinary values:
        a memoryview costs more than copying half a kilobyte.
        """
        # As raw() and live_value() do it, without a call: this is the way of every hit.
        environment = self._environment
        encoded = key.encode()
        if not 0 < len(encoded) <= MAX_KEY_BYTES:
            encoded = replica_key(key)
        try:
            with environment.begin(environment.caches[cache]) as txn:
                raw = txn.get(encoded)
        except (KeyError, lmdb.Error) as error:
            raw = self._raw_after(error, cache, encoded)
        if raw is None:
            return None
        if not HEADER_BYTES <= len(raw) < VIEW_BYTES:
            return live_value(raw, boottime_ns())
        expires_at = _header(raw)[0]
        if expires_at and expires_at <= boottime_ns():
            return None
        return raw[HEADER_BYTES:]

    def raw(self, cache: str, key: str) -> bytes | None:
        """Return header and value of the stored entry, expired or not; None where there is none."""
        environment = self._environment
        encoded = replica_key(key)
        try:
            with environment.begin(environment.caches[cache]) as txn:
                return txn.get(encoded)
        except (KeyError, lmdb.Error) as error:
            return self._raw_after(error, cache, encoded)

    def _raw_after(self, error: KeyError | lmdb.Error, cache: str, encoded: bytes) -> bytes | None:
        """The slow way: the cache is not known yet, or the first try failed in a way that may pass."""
        ensure_own(error)
        environment = self._environment
        if isinstance(error, lmdb.BadDbiError):
            return None  # another process has dropped the cache: it was empty
        if isinstance(error, lmdb.Error):
            environment.recover(error)
        database = environment.database(cache)
        if database is None:
            return None
        with environment.errors(), environment.begin_read() as txn:
            return txn.get(encoded, db=database)

    def get_many(self, cache: str, keys: Iterable[str]) -> dict[str, bytes | memoryview]:
        """Return the live values of `keys`, all read in one transaction."""
        environment = self._environment
        database = environment.database(cache)
        if database is None:
            return {}
        names = {replica_key(key): key for key in keys}
        stored = read_all(environment, database, names)
        now_ns = boottime_ns()
        found: dict[str, bytes | memoryview] = {}
        for encoded, raw in stored:
            value = live_value(raw, now_ns)
            if value is not None:
                found[names[encoded]] = value
        return found

    def has(self, cache: str, key: str) -> bool:
        """Whether there is a live entry."""
        raw = self.raw(cache, key)
        return raw is not None and is_live(header_of(raw)[0])

    def item(self, cache: str, key: str) -> Item | None:
        """Return the live entry with its version and expiry."""
        found = self.present(cache, key)
        return found if found and is_live(found.expires_at) else None

    def head(self, cache: str, key: str, most: int) -> tuple[Item, int] | None:
        """Return the live entry with at most the first `most` bytes of its value, and how many bytes that has.

        So a large value is not copied. No other thread of this process may be reading.
        """
        environment = self._environment
        try:
            with environment.begin(environment.caches[cache], None, False, True) as txn:
                raw = txn.get(replica_key(key))
                if raw is None:
                    return None
                found, length = item_of(raw[: HEADER_BYTES + most]), len(raw) - HEADER_BYTES
        except (KeyError, lmdb.Error):
            item = self.item(cache, key)
            return None if item is None else (item, len(item.value))
        return (found, length) if is_live(found.expires_at) else None

    def present(self, cache: str, key: str) -> Item | None:
        """Return the stored entry, expired or not."""
        raw = self.raw(cache, key)
        return None if raw is None else item_of(raw)

    def usage(self, cache: str) -> Usage:
        """Return how much room the cache takes."""
        with self._read(cache) as transaction:
            return transaction.usage(cache)

    @contextmanager
    def _read(self, cache: str) -> Iterator[ReadTransaction]:
        environment = self._environment
        environment.database(cache)
        with environment.errors(), environment.begin_read() as txn:
            yield ReadTransaction(environment, txn, environment.caches)

    @contextmanager
    def snapshot(self, *, views: bool = False) -> Iterator[ReadTransaction]:
        """Give a read transaction over all caches for the length of the block, while writes go on beside it.

        views: give views of entries, not copies. LMDB reuses no page that a snapshot sees: during a long one the file
        grows by what is written.
        """
        environment = self._environment
        begin = environment.begin_look if views else environment.begin_read
        txn: lmdb.Transaction[bytes | memoryview] = begin()
        known: dict[str, lmdb._Database | None] = dict(environment.caches)
        try:
            while missing := [name for name in caches(txn) if name not in known]:
                txn.abort()
                # None where another process has dropped the cache since.
                known |= {name: environment.database(name) for name in missing}
                known |= environment.caches
                txn = begin()
            yield ReadTransaction(environment, txn, {name: found for name, found in known.items() if found})
        except lmdb.Error as error:  # an OSError is the caller's own
            raise environment.error(error) from error
        finally:
            txn.abort()

    def write(self) -> WriteTransaction:
        """The write transaction, as a context manager: commits at the end, aborts on an exception.

        Waits for the one other writer of all processes. Raises ReplicaFull where the map or the file system
        has no room, ReplicaError for anything else; the replica stays usable after both. A thread that is in
        a write transaction must not begin another one.
        """
        if boottime_ns() >= self._next_maintenance:
            self.recheck()
        return WriteTransaction(self._environment)

    def transact(self, kind: type[W], work: Callable[[W, A], T], of: A) -> T:
        """Commit what `work(transaction, of)` does in a write transaction of its own, and return what it returns.

        As write(), for a thread in which exceptions may arrive at any moment: time limits, Ctrl-C. None of them
        leaves the transaction open, which would keep the writers of all processes waiting.
        """
        begun_ns = boottime_ns()
        if begun_ns >= self._next_maintenance:
            self.recheck()
        return committed(self._environment, begun_ns, kind, work, of)

    def recheck(self) -> None:
        """Follow a directory that was wiped, at most once a second; writes do it, for those who only read."""
        if self._maintaining.locked():
            return  # another thread does it, or what a signal handler has interrupted
        with self._maintaining:
            now = boottime_ns()
            if now >= self._next_maintenance:
                self._maintain()
                # Not before: where it cannot follow, nobody may go on in a file that no other process finds.
                self._next_maintenance = now + MAINTENANCE_NS

    def _maintain(self) -> None:
        environment = self._environment
        if environment.replaced():
            if self._keeps_journal:
                raise ReplicaError(
                    f"the replica {environment.path} or its lock file was removed while it was in use"
                )
            # The old one closes itself when its last read is over.
            log.warning(
                "the replica %s or its lock file was removed or replaced while it was in use: opening it again",
                environment.path,
            )
            self._environment = self._open()
            return
        self._maintenances += 1
        if self._maintenances % READER_CHECK_EVERY == 0:
            with environment.errors():
                environment.lmdb.reader_check()

    def grow(self, by: int) -> bool:
        """Let the file become longer than its map was, by so many bytes, where the file system has room for that.

        No other thread may be reading. False where it has none, or where this process reads.
        """
        environment = self._environment
        map_bytes, file_bytes = environment.lengths()
        return map_bytes - file_bytes < environment.growth_bytes() and environment.grow(by)

    def replaced(self) -> bool:
        """Whether the directory was wiped or the file replaced since it was opened."""
        return self._environment.replaced()
