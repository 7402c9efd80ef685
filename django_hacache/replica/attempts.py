"""What is tried again where LMDB could not do it at once. Knows environments and transactions, no replica."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import lmdb

from django_hacache.exceptions import ReplicaFull
from django_hacache.replica.environment import TRIES
from django_hacache.replica.transaction import WriteTransaction
from django_hacache.system.interruption import ensure_own

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django_hacache.replica.environment import Environment

T = TypeVar("T")
A = TypeVar("A")
W = TypeVar("W", bound=WriteTransaction)


def read_all(
    environment: Environment, database: lmdb._Database, keys: Iterable[bytes]
) -> list[tuple[bytes, bytes]]:
    """Replica keys and what is stored under them, as one read sees it."""
    try:
        return _read_all(environment, database, keys)
    except lmdb.Error as error:
        ensure_own(error)
        if isinstance(error, lmdb.BadDbiError):
            return []  # another process has dropped the cache: it was empty
        environment.recover(error)
    with environment.errors():
        return _read_all(environment, database, keys)


def _read_all(
    environment: Environment, database: lmdb._Database, keys: Iterable[bytes]
) -> list[tuple[bytes, bytes]]:
    with environment.begin_read() as txn, txn.cursor(database) as cursor:
        return cursor.getmulti(keys)


def committed(environment: Environment, begun_ns: int, kind: type[W], work: Callable[[W, A], T], of: A) -> T:
    """What `work` returns, once it is committed. For lack of room it fails only where the file cannot become longer."""
    tries = 0
    while True:
        transaction = None
        try:
            # Both are C: between them and the transaction no exception can come.
            with environment.writing, environment.begin(None, None, True, True) as txn:
                transaction = kind(environment, txn)
                transaction.begun_ns = begun_ns
                result = work(transaction, of)
        except (lmdb.Error, ReplicaFull) as error:
            ensure_own(error)
            if transaction is None and tries < TRIES and isinstance(error, lmdb.Error):
                environment.recover(error)
                tries += 1
            elif transaction is None or not environment.has_room_after(error):
                if isinstance(error, ReplicaFull):
                    raise
                raise environment.error(error) from error
        else:
            if transaction.opened:
                transaction.committed()
            return result
