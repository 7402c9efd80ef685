"""A replica that is on its way here: it is complete up to a place in its order, and has nothing of what comes after.

A place is the name of a cache and a key; after all of them come the recent requests, by their indexes. How parts travel
is in parts.py.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from django_hacache.replica.layout import MAX_KEY_BYTES, MAX_NAME_BYTES, replica_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django_hacache.replica.transaction import Item, WriteTransaction

PLACE_BYTES_MAX = MAX_NAME_BYTES + 1 + MAX_KEY_BYTES
# No name of a cache begins with this byte, and none contains this one: a place is less than another one as bytes are.
REQUESTS = b"\xff"
AFTER_CACHE = b"\0"
# Of the requests: the index of the latest that was sent, and of the last that will be.
PROGRESS = Struct(">QQ")


def place_of(cache: str, key: bytes) -> bytes:
    """The place of an entry."""
    return cache.encode() + AFTER_CACHE + key


def is_place(place: bytes) -> bool:
    """Whether something can be read from there on."""
    if place.startswith(REQUESTS):
        return len(place) in (len(REQUESTS), len(REQUESTS) + PROGRESS.size)
    cache, _, key = place.partition(AFTER_CACHE)
    return len(cache) <= MAX_NAME_BYTES and len(key) <= MAX_KEY_BYTES


class Held:
    """What effects may do to a replica that is complete up to `position` only: what comes after that is not there."""

    def __init__(self, transaction: WriteTransaction, position: bytes) -> None:
        self._transaction = transaction
        self._position = position

    def _holds(self, cache: str, key: bytes) -> bool:
        return place_of(cache, key) <= self._position

    def refuses(self, cache: str) -> str:
        return self._transaction.refuses(cache)

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
        if self._holds(cache, replica_key(key)):
            self._transaction.set(
                cache, key, value, version=version, expires_at=expires_at, keep_ttl=keep_ttl
            )

    def present(self, cache: str, key: str) -> Item | None:
        return self._transaction.present(cache, key)

    def delete(self, cache: str, key: str) -> bool:
        return self._holds(cache, replica_key(key)) and self._transaction.delete(cache, key)

    def touch(self, cache: str, key: str, *, version: int, expires_at: int) -> bool:
        return self._holds(cache, replica_key(key)) and self._transaction.touch(
            cache, key, version=version, expires_at=expires_at
        )

    def clear(self, cache: str) -> None:
        self._transaction.clear(cache)

    def remove_keys(self, cache: str, keys: Iterable[bytes]) -> int:
        return self._transaction.remove_keys(cache, [key for key in keys if self._holds(cache, key)])
