"""Clients: gives each client's stream one of a few places, for each can make a node keep a part of a message.

gRPC keeps what has come of a message and tells nobody. So where no place is left, the quietest stream loses its own. A
client that does not even read the greeting keeps its place until its connection ends: nobody could tell it to go.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from django_hacache.node.log_throttle import LogThrottle

# What their messages and answers may take is bounded elsewhere: see unfinished.py and unread.py.
STREAMS_MAX = 32
QUIET_S = 30.0


class ClientStream(Protocol):
    @property
    def replaced(self) -> asyncio.Event: ...


class Clients:
    """The streams that have a place."""

    def __init__(self, throttle: LogThrottle, now: Callable[[], float] = time.monotonic) -> None:
        self._throttle = throttle
        self._now = now
        # When a whole request came last; the quietest first.
        self._heard: dict[ClientStream, float] = {}
        # Who has not taken the greeting yet.
        self._coming: set[ClientStream] = set()

    def __len__(self) -> int:
        return len(self._heard) + len(self._coming)

    def enter(self, stream: ClientStream) -> bool:
        """Give a stream a place, be it that of a quiet one; False where there is none."""
        if len(self) >= STREAMS_MAX and not self._quietest_leaves():
            self._throttle.say(
                "clients",
                f"a client was refused: {STREAMS_MAX} others have streams, and none was quiet for {QUIET_S:g} s",
            )
            return False
        self._coming.add(stream)
        return True

    def greeted(self, stream: ClientStream) -> None:
        """The client has read the greeting: from now on it counts when a request came."""
        self._coming.discard(stream)
        self._heard[stream] = self._now()

    def _quietest_leaves(self) -> bool:
        quietest, heard = next(iter(self._heard.items()), (None, 0.0))
        if quietest is None or self._now() - heard < QUIET_S:
            return False
        self._throttle.say(
            "quiet client", f"a client that was quiet for {QUIET_S:g} s and more made room for another one"
        )
        quietest.replaced.set()
        self.leave(quietest)
        return True

    def heard(self, stream: ClientStream) -> None:
        """A whole request came."""
        if stream in self._heard:
            del self._heard[stream]
            self._heard[stream] = self._now()

    def leave(self, stream: ClientStream) -> None:
        self._heard.pop(stream, None)
        self._coming.discard(stream)
