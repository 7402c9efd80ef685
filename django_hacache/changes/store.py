"""What a change can ask of a store, and do to it.

There are two. On one machine the store is an LMDB transaction of the process that writes: worker/standalone_store.py.
In a cluster it is the leader's replica together with the log above it, and what is done to it becomes effects for the
log: leader_store.py in node/. Must not know either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from django_hacache.values.signing import Codec


class Found(Protocol):
    """A live entry. `value` may be the beginning of a large one: enough to see that it is no integer."""

    @property
    def value(self) -> bytes | memoryview: ...
    @property
    def version(self) -> int: ...


F = TypeVar("F", bound=Found)


class Store(Protocol[F]):
    """All caches, by name. It finds no entry that has expired. ttl_ms: time to live; None for ever."""

    def find(self, cache: str, key: str) -> F | None:
        """Return the live entry, None where there is none."""

    def put(self, cache: str, key: str, value: bytes, ttl_ms: int | None) -> None:
        """Store a value, whether or not there is an entry."""

    def put_if_absent(self, cache: str, key: str, value: bytes, ttl_ms: int | None) -> bool:
        """Store a value where there is no live entry; return whether it was stored."""

    def replace(self, cache: str, key: str, value: bytes, found: F) -> None:
        """Store a value in place of the entry that was found; its time to live stays."""

    def renew(self, cache: str, key: str, found: F, ttl_ms: int | None) -> bool:
        """Give the entry that was found a new time to live; return False where it is gone by now."""

    def remove(self, cache: str, key: str) -> bool:
        """Remove the entry; return whether there was a live one."""

    def clear(self, cache: str) -> None:
        """Remove all entries of the cache."""

    def codec_of(self, cache: str) -> Codec:
        """Return the codec of the cache's values."""
