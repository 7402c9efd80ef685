"""The durable state of Raft, in the same LMDB transaction as the caches: bytes in, bytes out. Must not know Raft."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_hacache.replica.layout import NUMBER_KEY

if TYPE_CHECKING:
    from collections.abc import Iterable

    import lmdb

    from django_hacache.replica.environment import FixedDatabases


class JournalReader:
    """The journal as one transaction sees it."""

    __slots__ = ("_log", "_meta", "_requests", "_txn")

    def __init__(self, txn: lmdb.Transaction[bytes | memoryview], databases: FixedDatabases) -> None:
        self._txn = txn
        self._meta, self._log, self._requests, _ = databases

    def get_meta(self, name: str) -> bytes | None:
        """The value last put under `name`."""
        value = self._txn.get(name.encode(), db=self._meta)
        return None if value is None else bytes(value)

    def entries(self) -> list[tuple[int, bytes]]:
        """The whole log, as (index, entry) in the order of the indexes."""
        return _numbered(self._txn, self._log)

    def entries_between(self, first: int, last: int) -> list[tuple[int, bytes]]:
        """The entries with first <= index <= last, as (index, entry)."""
        found = []
        with self._txn.cursor(db=self._log) as cursor:
            more = cursor.set_range(NUMBER_KEY.pack(first))
            while more and (index := NUMBER_KEY.unpack(cursor.key())[0]) <= last:
                found.append((index, bytes(cursor.value())))
                more = cursor.next()
        return found

    def requests(self) -> list[tuple[int, bytes]]:
        """The whole request table, as (sequence, record) in the order of the sequence."""
        return _numbered(self._txn, self._requests)


class Journal(JournalReader):
    """The journal inside a write transaction: what is put is durable when the transaction has committed."""

    __slots__ = ()

    def put_meta(self, name: str, value: bytes) -> None:
        """Keep `value` under `name`."""
        self._txn.put(name.encode(), value, db=self._meta)

    def put_entries(self, entries: Iterable[tuple[int, bytes]]) -> None:
        """Write entries at their indexes; an entry that was at one of them is replaced."""
        for index, entry in entries:
            self._txn.put(NUMBER_KEY.pack(index), entry, db=self._log)

    def truncate_from(self, index: int) -> None:
        """Remove the entry at `index` and all after it."""
        with self._txn.cursor(db=self._log) as cursor:
            more = cursor.set_range(NUMBER_KEY.pack(index))
            while more:
                more = cursor.delete()

    def compact_to(self, index: int) -> None:
        """Remove all entries up to `index`, that one included."""
        _delete_to(self._txn, self._log, index)

    def put_request(self, sequence: int, value: bytes) -> None:
        """Keep the record of one request."""
        self._txn.put(NUMBER_KEY.pack(sequence), value, db=self._requests)

    def delete_requests_to(self, sequence: int) -> None:
        """Forget all requests up to `sequence`, that one included."""
        _delete_to(self._txn, self._requests, sequence)

    def clear_requests(self) -> None:
        """Forget all requests."""
        self._txn.drop(self._requests, delete=False)

    def erase(self) -> None:
        """Forget everything: meta, log and requests."""
        for database in (self._meta, self._log, self._requests):
            self._txn.drop(database, delete=False)


def _numbered(txn: lmdb.Transaction[bytes | memoryview], database: lmdb._Database) -> list[tuple[int, bytes]]:
    with txn.cursor(db=database) as cursor:
        return [(NUMBER_KEY.unpack(number)[0], bytes(value)) for number, value in cursor]


def _delete_to(txn: lmdb.Transaction[bytes | memoryview], database: lmdb._Database, last: int) -> None:
    with txn.cursor(db=database) as cursor:
        cursor.first()
        while (key := cursor.key()) and NUMBER_KEY.unpack(key)[0] <= last:
            cursor.delete()
