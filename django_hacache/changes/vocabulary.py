"""What a cache can be asked to change, and the answer: the words between HACache and its writers.

Knows neither how a change is carried out nor Django. They are tuples: of all that cannot be changed, these are made
fastest.
"""

from __future__ import annotations

import enum
from collections.abc import Generator
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from django_hacache.conf import AckLevel

T = TypeVar("T")


class When(enum.Enum):
    """What must be found for an Insert to take effect."""

    ALWAYS = enum.auto()
    ABSENT = enum.auto()
    UNCHANGED = enum.auto()


class Why(enum.Enum):
    """Why an Increment, a Move or an Insert when UNCHANGED did not take effect, where that is known."""

    ABSENT = enum.auto()
    NOT_AN_INTEGER = enum.auto()


class Insert(NamedTuple):
    """Store a value. `ttl_ms` None: it does not expire. `version` is for When.UNCHANGED."""

    key: str
    value: bytes
    ttl_ms: int | None
    when: When = When.ALWAYS
    version: int = 0
    keep_ttl: bool = False


class Remove(NamedTuple):
    key: str


class Touch(NamedTuple):
    """Give a live entry a new time to live. `ttl_ms` None: it no longer expires."""

    key: str
    ttl_ms: int | None


class Increment(NamedTuple):
    key: str
    delta: int


class Move(NamedTuple):
    """Remove `source` if it still has `version`, and only then make the change `then`.

    One transaction on a single machine. In a cluster the second is sent when the first is acknowledged.
    """

    source: str
    version: int
    then: Insert | Remove


class Clear:
    """Remove everything."""

    __slots__ = ()


class Batch(NamedTuple):
    """Changes that take effect together."""

    changes: tuple[Insert | Remove, ...]


Change = Insert | Remove | Touch | Increment | Move | Clear | Batch
Sent = Insert | Remove | Touch | Increment | Clear | Batch  # what is one request


class Outcome(NamedTuple):
    """Whether a change took effect; for an Increment the new number or why not, for a Batch one flag each."""

    effective: bool
    number: int | None = None
    why: Why | None = None
    each: tuple[bool, ...] = ()


DONE = Outcome(effective=True)
NOT_DONE = Outcome(effective=False)

# An operation of the cache API, free of how it waits: it yields changes, is sent their outcomes and returns
# what the caller gets. So each operation is written once, for get() and aget() styles alike.
Steps = Generator[Change, Outcome, T]


class Writer(Protocol):
    """Carries changes out, one at a time. `deadline` is in seconds, as system.monotonic() tells the time."""

    def perform(self, change: Change, *, ack: AckLevel, deadline: float) -> Outcome: ...

    async def aperform(self, change: Change, *, ack: AckLevel, deadline: float) -> Outcome:
        """The same without blocking the event loop."""
