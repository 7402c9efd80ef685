"""What a change sees of a cache, and what it can do to it.

There are two: on one machine the LMDB transaction of the process that writes; in a cluster the leader's replica with
the order above it, which keeps what is done to it as effects for the log. Neither is known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from django_hacache.values.signing import Codec


class Found(Protocol):
    """A live entry. Of a large value it may be the beginning, which is enough to see that it is no integer."""

    @property
    def value(self) -> bytes | memoryview: ...
    @property
    def version(self) -> int: ...


F = TypeVar("F", bound=Found)


class Store(Protocol[F]):
    """Caches by their names. What has expired is not found; times to live are in ms, and None is for ever."""

    def find(self, cache: str, key: str) -> F | None:
        """The live entry."""

    def put(self, cache: str, key: str, value: bytes, ttl_ms: int | None) -> None:
        """Store a value, whatever is there."""

    def put_if_absent(self, cache: str, key: str, value: bytes, ttl_ms: int | None) -> bool:
        """Store a value where nothing is found; return whether it was stored."""

    def replace(self, cache: str, key: str, value: bytes, found: F) -> None:
        """Store a value in place of what was found, to live as long as that."""

    def renew(self, cache: str, key: str, found: F, ttl_ms: int | None) -> bool:
        """Give what was found a new time to live; return whether it has not ended meanwhile."""

    def remove(self, cache: str, key: str) -> bool:
        """Remove what is there; return whether it would have been found."""

    def clear(self, cache: str) -> None:
        """Remove everything."""

    def codec_of(self, cache: str) -> Codec:
        """How the values of the cache are stored."""
