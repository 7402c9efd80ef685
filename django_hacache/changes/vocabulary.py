"""The changes: what a cache can be asked to do. Each class alone says, in carry_out(), what it does to a store.

A worker makes a change; it travels to the store, on one machine or on the leader, and carries itself out there at once.
They are named tuples, since no other immutable object is made as fast. Must not know a store, nor how a change travels.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple

from django_hacache.changes.outcome import ABSENT, CHANGED, DONE, NOT_AN_INTEGER, PRESENT, Outcome

if TYPE_CHECKING:
    from django_hacache.changes.store import F, Store


class When(enum.Enum):
    """Which entry the store must find for an Insert to take effect."""

    ALWAYS = enum.auto()
    ABSENT = enum.auto()
    PRESENT = enum.auto()
    UNCHANGED = enum.auto()


# An enumeration's members take longer to look up than to compare.
_ALWAYS, _IF_ABSENT = When.ALWAYS, When.ABSENT


class Insert(NamedTuple):
    """Store a value.

    ttl_ms: time to live; None for ever.
    version: for When.UNCHANGED, the version that the entry must have.
    keep_ttl: an entry that is found keeps its time to live; `ttl_ms` is for where there is none.
    """

    key: str
    value: bytes
    ttl_ms: int | None
    when: When = When.ALWAYS
    version: int = 0
    keep_ttl: bool = False

    def carry_out(self, store: Store[F], cache: str) -> Outcome:
        key, value, ttl_ms, when, version, keep_ttl = self
        if not keep_ttl:
            if when is _ALWAYS:
                store.put(cache, key, value, ttl_ms)
                return DONE
            if when is _IF_ABSENT:
                return DONE if store.put_if_absent(cache, key, value, ttl_ms) else PRESENT
        found = store.find(cache, key)
        if found is None:
            if when is When.PRESENT or when is When.UNCHANGED:
                return ABSENT
        elif when is _IF_ABSENT:
            return PRESENT
        elif when is When.UNCHANGED and found.version != version:
            return CHANGED
        elif keep_ttl:
            store.replace(cache, key, value, found)
            return DONE
        store.put(cache, key, value, ttl_ms)
        return DONE


class Remove(NamedTuple):
    """Remove an entry."""

    key: str

    def carry_out(self, store: Store[F], cache: str) -> Outcome:
        return DONE if store.remove(cache, self.key) else ABSENT


class Touch(NamedTuple):
    """Give a live entry a new time to live; `ttl_ms` None: it no longer expires."""

    key: str
    ttl_ms: int | None

    def carry_out(self, store: Store[F], cache: str) -> Outcome:
        found = store.find(cache, self.key)
        renewed = found is not None and store.renew(cache, self.key, found, self.ttl_ms)
        return DONE if renewed else ABSENT


class Increment(NamedTuple):
    """Add to an integer, however large; its time to live stays."""

    key: str
    delta: int

    def carry_out(self, store: Store[F], cache: str) -> Outcome:
        key, delta = self
        found = store.find(cache, key)
        if found is None:
            return ABSENT
        codec = store.codec_of(cache)
        number = codec.integer(key, found.value)
        if number is None:
            return NOT_AN_INTEGER
        number += delta
        store.replace(cache, key, codec.encode(key, number), found)
        return Outcome(True, number)


class Move(NamedTuple):
    """Remove `source` if it still has `version`, and only then carry out `then`.

    It is never sent: in a cluster it is two changes, and the worker sends the second when the first is acknowledged.
    """

    source: str
    version: int
    then: Insert | Remove

    def carry_out(self, store: Store[F], cache: str) -> Outcome:
        found = store.find(cache, self.source)
        if found is None:
            return ABSENT
        if found.version != self.version:
            return CHANGED
        store.remove(cache, self.source)
        self.then.carry_out(store, cache)
        return DONE


class Clear:
    """Remove all entries of the cache."""

    __slots__ = ()

    def carry_out(self, store: Store[F], cache: str) -> Outcome:
        store.clear(cache)
        return DONE


class Batch(NamedTuple):
    """Changes that take effect together, each seeing what those before it did."""

    changes: tuple[Insert | Remove, ...]

    def carry_out(self, store: Store[F], cache: str) -> Outcome:
        each = tuple(part.carry_out(store, cache).effective for part in self.changes)
        return Outcome(effective=True, each=each)


Change = Insert | Remove | Touch | Increment | Move | Clear | Batch
Sent = Insert | Remove | Touch | Increment | Clear | Batch  # each is one request of a worker
