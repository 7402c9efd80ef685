"""One LMDB environment: opening, handles of its databases, growth, dead readers, errors, forks.

Knows nothing of keys, values or expiry: replica.py gives them their meaning.
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import lmdb

from django_hacache.exceptions import ConfigurationError, ReplicaBroken, ReplicaError
from django_hacache.replica import fork, reserved
from django_hacache.replica.layout import ENTRIES, FIXED, MAX_DATABASES, cache_name_bytes
from django_hacache.replica.lmdb_errors import MAX_READERS, meaning
from django_hacache.replica.mapped import PAGE_BYTES, Mapped
from django_hacache.replica.pair import FILE_NAME, LOCKS_NAME, allocate_locks, ensure_pair, pair_at, pair_in
from django_hacache.replica.registry import OPEN_ALREADY, OpenAlready, when_closed
from django_hacache.replica.soundness import damage
from django_hacache.system.directory import PRIVATE_FILE, identity, open_private
from django_hacache.system.interruption import ensure_own

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django_hacache.replica.opening import Membership
    from django_hacache.system.directory import Directory

LOCK_FILE_BYTES = 64 * MAX_READERS + PAGE_BYTES
"""A line of the processor's cache for each reader, and LMDB's own header."""

TRIES = 10
"""How often a transaction is begun: each time another process may have made the file longer, or filled the table."""

# What py-lmdb raises while another thread exchanges the map, and in reads that were under way.
_EXCHANGED = (lmdb.Error, lmdb.InvalidParameterError)


class FixedDatabases(NamedTuple):
    """The databases that every replica has, whatever caches it holds."""

    meta: lmdb._Database
    log: lmdb._Database
    requests: lmdb._Database
    host: lmdb._Database


class Environment(Mapped):
    """One opened LMDB file. Safe for threads; never for a forked child."""

    def __init__(
        self,
        directory: Directory,
        *,
        membership: Membership | None,
        map_size: int,
        reserves: bool | None = None,
    ) -> None:
        """Open it for writing, as a member of those that do, or for reading only.

        reserves: whether a new file is to be as reserved.py says. With False, one that is there and is so is replaced.
        """
        # Weakly: it has to end before the file is closed (see Replica.close).
        self._membership: Callable[[], Membership | None] = (
            (lambda: None) if membership is None else weakref.ref(membership)
        )
        self._reserves = reserves
        self.directory = directory.path
        self.path = self.directory / FILE_NAME
        self.writable = membership is not None
        # The database of each cache that this process has come across.
        self.caches: dict[str, lmdb._Database] = {}
        self._opening = threading.Lock()
        rounded = -(-map_size // PAGE_BYTES) * PAGE_BYTES
        super().__init__(rounded)
        try:
            when_closed(lambda: self._open_files(directory, membership, rounded))
            self._look(directory)
        except BaseException:
            if hasattr(self, "lmdb"):
                self.lmdb.close()  # or this process could not open it again
            raise

    def _open_files(self, directory: Directory, membership: Membership | None, map_size: int) -> None:
        if membership is None:
            self._files = pair_in(directory)
            self._files.ensure_readable(self.path)
            with self.errors():
                self.lmdb = self._open(directory, map_size)
        else:
            with self.errors(), membership.opening():
                membership.join()
                ensure_pair(directory)
                self._prepare(directory)
                self.lmdb = self._open(directory, self._map_bytes)
                # Not by a descriptor: closing that of the lock file would drop LMDB's own locks on it (POSIX).
                for name in (FILE_NAME, LOCKS_NAME):
                    directory.restrict(name)
                self._files = pair_in(directory)
        self.begin = self.lmdb.begin
        self.identity = self._files.data

    def _prepare(self, directory: Directory) -> None:
        """Make the file, or find out of which kind it is."""
        there = directory.identity_of(FILE_NAME) is not None
        if not there and self._reserves and reserved.can_be_made(directory):
            self._open(directory, self._map_bytes).close()
            reserved.make(directory)
            there = True
        length = reserved.length(directory) if there else 0
        if length and self._reserves is False:
            directory.remove(FILE_NAME)
            directory.remove(LOCKS_NAME)
        elif length:
            self.reserved, self._map_bytes = True, length

    def _look(self, directory: Directory) -> None:
        """Make sure that what was opened is what is there, and whole."""
        if not self.writable and pair_in(directory) != self._files:
            raise ReplicaError(f"the replica {self.path} was replaced while it was being opened")
        self._check_length()
        if self.writable:
            self.lmdb.reader_check()
        with self.proven():
            self.fixed = self._open_fixed()

    def _open(self, directory: Directory, map_size: int) -> lmdb.Environment:
        for name in (FILE_NAME, LOCKS_NAME):
            directory.ensure_own(name)
        if self.writable:
            allocate_locks(directory, LOCK_FILE_BYTES)
        opened = None
        try:
            with directory.reached(FILE_NAME) as path:
                opened = self._open_at(path, map_size)
        except BaseException:
            if opened is not None:
                opened.close()
            raise
        return opened

    def _open_at(self, path: str, map_size: int) -> lmdb.Environment:
        with fork.inherited_environments_forgotten():
            try:
                return lmdb.open(
                    path,
                    map_size=map_size,
                    subdir=False,
                    readonly=not self.writable,
                    create=self.writable,
                    mode=PRIVATE_FILE,
                    metasync=False,
                    sync=False,
                    writemap=self.reserved,
                    max_readers=MAX_READERS,
                    max_dbs=MAX_DATABASES,
                    max_spare_txns=1,
                )
            except lmdb.Error as error:
                ensure_own(error)
                error.args = (str(error).replace(path, str(self.path)),)
                if OPEN_ALREADY not in str(error):
                    raise
                raise OpenAlready(
                    f"{self.directory} is open in this process already, in another sub-interpreter most likely: LMDB "
                    "allows a process one. Expected one interpreter for it (mod_wsgi: WSGIApplicationGroup %{GLOBAL}; "
                    "uWSGI: single-interpreter), or another LOCATION for each"
                ) from error

    def _check_length(self) -> None:
        """Reading beyond the file's end would kill the process by SIGBUS."""
        # In this order: a file that another process makes longer meanwhile is no shorter than it was.
        taken = self.file_bytes()
        size = self.path.stat().st_size
        if size < taken:  # the last pages may be free ones that were never written
            self.prove(ReplicaBroken(f"the replica {self.path} has {size} bytes, and should have {taken}"))

    @contextmanager
    def proven(self) -> Iterator[None]:
        """Let ReplicaBroken out where the file is damaged indeed, and ReplicaError in its place where it is whole."""
        try:
            yield
        except ReplicaBroken as error:
            ensure_own(error)
            self.prove(error)
            raise self.whole(error) from error

    @staticmethod
    def whole(suspicion: ReplicaBroken) -> ReplicaError:
        """The error where the file is not damaged: then `suspicion` has another cause."""
        return ReplicaError(f"{suspicion}; the file is whole, and stays")

    def prove(self, suspicion: ReplicaBroken) -> None:
        """Raise `suspicion` where the file is damaged indeed; return where it is whole."""
        if self.writable:
            # Nobody else changes anything meanwhile.
            with self.errors(), self.writing, self.begin_write() as txn:
                found = self._damage(txn.id() - 1)
        else:
            with self.errors(), self.begin_read() as txn:
                found = self._damage(txn.id())
        if found is not None:
            raise ReplicaBroken(f"{suspicion} ({found})") from suspicion

    def _damage(self, transaction: int) -> str | None:
        with open_private(self.directory) as directory:
            descriptor = directory.open(FILE_NAME)
        try:
            if identity(os.fstat(descriptor)) != self.identity:
                raise ReplicaError(f"the replica {self.path} was replaced while it was in use")
            return damage(descriptor, transaction)
        finally:
            os.close(descriptor)

    def _open_fixed(self) -> FixedDatabases:
        with self.errors():
            if not self.writable:
                return FixedDatabases(*(self.lmdb.open_db(name, create=False) for name in FIXED))
            with self.writing, self.begin_write() as txn:
                return FixedDatabases(*(self.lmdb.open_db(name, txn=txn) for name in FIXED))

    def leak(self) -> None:
        """In a forked child: make sure that the environment is never closed."""
        fork.leak(self.lmdb)

    def close(self) -> None:
        """Close the file; transactions that are still open become invalid."""
        self.lmdb.close()

    def replaced(self) -> bool:
        """Whether the file or its lock file is no longer the one that is open: the directory was wiped."""
        try:
            return pair_at(self.directory) != self._files
        except ReplicaError as error:
            ensure_own(error)
            return False  # that it cannot be looked at says nothing of it

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn LMDB's errors into ReplicaError or ReplicaFull that name the path."""
        try:
            yield
        except ReplicaError:
            raise
        except (lmdb.Error, OSError) as error:
            ensure_own(error)
            raise self.error(error) from error

    def error(self, error: Exception) -> ReplicaError | ConfigurationError:
        """The error of this package that says what LMDB's error means here."""
        can_grow = self.reserved and self._map_bytes < self._most_bytes
        return meaning(error, self.path, map_bytes=self._map_bytes, can_grow=can_grow)

    def begin_read(self) -> lmdb.Transaction[bytes]:
        """A read transaction; tried again after a growth of the map or with the reader table full."""
        for _ in range(TRIES):
            try:
                return self.begin()
            except lmdb.Error as error:
                self.recover(error)
        with self.errors():
            return self.lmdb.begin()

    def begin_look(self) -> lmdb.Transaction[memoryview]:
        """A read transaction of this process's only thread: what it reads are views, valid until its end."""
        with self.errors():
            return self.lmdb.begin(buffers=True)

    def begin_write(self) -> lmdb.Transaction[memoryview]:
        """The write transaction: there is one at a time, over all processes.

        What it reads are views, valid until its next change: looking at large entries copies nothing.
        """
        for _ in range(TRIES):
            try:
                return self.begin(None, None, True, True)
            except lmdb.Error as error:
                self.recover(error)
        with self.errors():
            return self.lmdb.begin(write=True, buffers=True)

    def recover(self, error: lmdb.Error) -> None:
        """Do what makes the failed call worth one more try, or raise ReplicaError where nothing does."""
        ensure_own(error)
        if isinstance(error, lmdb.MapResizedError):
            self.remap()
        elif isinstance(error, lmdb.ReadersFullError):
            self.lmdb.reader_check()
        elif self.reserved and type(error) in _EXCHANGED:
            self.await_map()
        elif not isinstance(
            error, lmdb.BadRslotError
        ):  # a slot that a forked child freed: the next one is new
            raise self.error(error) from error

    def database(self, cache: str) -> lmdb._Database | None:
        """The database of a cache; None while no process has written to it."""
        found = self.caches.get(cache)
        return found or self._open_existing(cache)

    def _open_existing(self, cache: str) -> lmdb._Database | None:
        name = ENTRIES + cache_name_bytes(cache)
        with self.begin_read() as txn:
            if txn.get(name) is None:
                return None
        with self.errors():
            if not self.writable:
                # LMDB registers a new handle at the transaction's end and does not lock that.
                with self._opening:
                    found = self.lmdb.open_db(name, create=False)
            else:
                with self.writing, self.begin_write() as txn:
                    found = self.open_in(txn, cache)
        return self.caches.setdefault(cache, found)

    def open_in(self, txn: lmdb.Transaction[memoryview], cache: str) -> lmdb._Database:
        """The database of a cache, created where missing; valid after `txn`, a write, only if it commits."""
        with self.errors():
            return self.lmdb.open_db(ENTRIES + cache_name_bytes(cache), txn=txn)
