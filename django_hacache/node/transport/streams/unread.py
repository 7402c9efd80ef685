"""Bounds the bytes of answers that clients have not read: of all clients together, and of each one.

Beyond that a client's next request is not looked at: it waits, in the order in which they came. A client that reads
nothing for a while loses its stream where others wait for the room. Knows no messages.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

# So many answers of the largest size, and one for each stream.
ANSWERS = 8
# Who takes an answer of 8 MiB reads at least 7 Mbit/s.
PATIENCE_S = 10.0
LOOK_S = 1.0


class Stream(Protocol):
    def cut_off(self) -> None: ...


class Unread:
    """Tells when the request of a client may be looked at.

    Args:
        largest: bytes of the largest answer.
    """

    def __init__(
        self, largest: int, now: Callable[[], float] = time.monotonic, *, patience_s: float = PATIENCE_S
    ) -> None:
        self.limit = ANSWERS * largest
        self.bytes = 0
        self._largest = largest
        self._now = now
        self._patience_s = patience_s
        self._sizes: dict[Stream, int] = {}
        # When it last read an answer, or had none to read.
        self._read_at: dict[Stream, float] = {}
        self._waiting: dict[Stream, asyncio.Future[None]] = {}
        # Whose turn it is: before its answer is there, nobody knows whether there is room for another.
        self._next: Stream | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def room(self, stream: Stream) -> None:
        """Wait until a request of this client may be looked at. That is to be done before anything is awaited."""
        if self._next is None and self._has_room(stream):
            return
        loop = asyncio.get_running_loop()
        turn = self._waiting[stream] = loop.create_future()
        self._watch()
        try:
            await turn
        finally:
            del self._waiting[stream]
            if self._next is stream:
                loop.call_soon(self._take_turns)

    def answered(self, stream: Stream, size: int) -> None:
        """An answer of that size waits to be read."""
        if not size:
            return
        if stream not in self._sizes:
            self._sizes[stream] = 0
            self._read_at[stream] = self._now()
        self._sizes[stream] += size
        self.bytes += size

    def read(self, stream: Stream, size: int) -> None:
        """The client has taken that much."""
        if stream not in self._sizes:
            return
        self.bytes -= size
        self._sizes[stream] -= size
        self._read_at[stream] = self._now()
        if not self._sizes[stream]:
            del self._sizes[stream], self._read_at[stream]
        self._call_next()

    def leave(self, stream: Stream) -> None:
        """It has gone, and nothing is kept for it."""
        self.bytes -= self._sizes.pop(stream, 0)
        self._read_at.pop(stream, None)
        self._call_next()

    def _has_room(self, stream: Stream) -> bool:
        return self.bytes < self.limit and not self._has_its_share(stream)

    def _has_its_share(self, stream: Stream) -> bool:
        return self._sizes.get(stream, 0) >= self._largest

    def _take_turns(self) -> None:
        self._next = None
        self._call_next()

    def _call_next(self) -> None:
        if self._next is not None:
            return
        # One that was cancelled is in the line until its task has its turn.
        can = (one for one, turn in self._waiting.items() if not turn.done() and self._has_room(one))
        self._next = next(can, None)
        if self._next is not None:
            self._waiting[self._next].set_result(None)

    def _watch(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _look(self) -> None:
        """Cut off who does not read, if somebody else waits for room that it has no share in."""
        self._timer = None
        if not self._waiting:
            return
        self._watch()
        if self.bytes < self.limit:
            return
        held_up = [stream for stream in self._waiting if not self._has_its_share(stream)]
        since = self._now() - self._patience_s
        for stream in [stream for stream, read_at in self._read_at.items() if read_at <= since]:
            if held_up and held_up != [stream]:
                stream.cut_off()
