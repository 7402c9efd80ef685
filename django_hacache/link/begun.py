"""Bounds the memory for requests that have arrived in part: a large one waits until it is granted room for all of it.

Each process has its share. Memory is bounded by the room granted, and by one read of each connection that waits. Must
not know frames.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

# How long a request may take to arrive; a worker writes one in milliseconds.
PATIENCE_S = 10.0
# How long a request keeps its room while others wait for room.
GRANT_S = 1.0
# Bytes of one read of the event loop: they are in memory before a connection can be told to wait.
READ_BYTES = 256 << 10


class Connection(Protocol):
    @property
    def process(self) -> int: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def abort(self) -> None: ...


@dataclass(slots=True)
class _Request:
    """A request that has arrived in part.

    rounds: how many reviews have found it with its room, while others waited.
    """

    size: int
    timer: asyncio.TimerHandle | None = None
    rounds: int = 0
    is_paused: bool = False


class Begun:
    """Decides which connections may read on.

    A request is granted room for all of it, and is then read to its end. Where it is not whole within `patience_s`, or
    within `grant_s` while others wait for room, its connection ends. So a request that somebody began and left holds up
    nobody for long, and one process never has more than half of the room.

    limit: bytes of room. At least those of two of the largest requests.
    complain: is told the kind of what was wrong and a sentence, when a connection ends.
    """

    def __init__(
        self,
        limit: int,
        complain: Callable[[str, str], None],
        *,
        patience_s: float = PATIENCE_S,
        grant_s: float = GRANT_S,
    ) -> None:
        self._limit = limit
        self._complain = complain
        self._patience_s = patience_s
        self._grant_s = grant_s
        # Requests no larger than one read: they need no room.
        self._small: dict[Connection, _Request] = {}
        self._granted: dict[Connection, _Request] = {}
        self._waiting: dict[Connection, _Request] = {}
        # Bytes granted, by process.
        self._shares: dict[int, int] = {}
        self._review: asyncio.TimerHandle | None = None
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._small) + len(self._granted) + len(self._waiting)

    def begins(self, connection: Connection, size: int) -> None:
        """Note that a part of a request of `size` bytes has arrived; pause the connection where there is no room."""
        request = _Request(size)
        if size <= READ_BYTES:
            self._small[connection] = request
            self._watch(connection, request)
            return
        self._waiting[connection] = request
        self._grant_what_fits()
        if connection in self._waiting:
            request.is_paused = True
            connection.pause()
            self._begin_review()

    def ends(self, connection: Connection) -> None:
        """Note that the request is whole, or that the connection is gone."""
        for requests in (self._small, self._granted, self._waiting):
            request = requests.pop(connection, None)
            if request is not None:
                break
        else:
            return
        if request.timer is not None:
            request.timer.cancel()
        if requests is self._granted:
            self._give_back(connection.process, request.size)
            self._grant_what_fits()

    def _grant_what_fits(self) -> None:
        """Grant room, first to the process that has least; in one process to the request that came first."""
        while self._waiting:
            connection = min(self._waiting, key=lambda one: self._shares.get(one.process, 0))
            request = self._waiting[connection]
            share = self._shares.get(connection.process, 0) + request.size
            if self.bytes + request.size > self._limit or share > self._limit // 2:
                return
            del self._waiting[connection]
            self._granted[connection] = request
            self._shares[connection.process] = share
            self.bytes += request.size
            self._watch(connection, request)
            if request.is_paused:
                connection.resume()

    def _give_back(self, process: int, size: int) -> None:
        self.bytes -= size
        self._shares[process] -= size
        if not self._shares[process]:
            del self._shares[process]

    def _watch(self, connection: Connection, request: _Request) -> None:
        loop = asyncio.get_running_loop()
        request.timer = loop.call_later(self._patience_s, self._end, connection, self._patience_s)

    def _end(self, connection: Connection, after_s: float) -> None:
        self._complain(
            "half",
            f"A worker had begun a request that was not whole within {after_s:g} s: disconnected.",
        )
        connection.abort()
        self.ends(connection)

    def _begin_review(self) -> None:
        if self._review is None:
            self._review = asyncio.get_running_loop().call_later(self._grant_s / 2, self._look)

    def _look(self) -> None:
        """End the connections whose requests have had their room for `grant_s` while others waited.

        In two reviews, half of that time apart: 1. this node stands still for a second; 2. the timer fires before the
        loop has read what arrived meanwhile. A single review would end connections that did nothing wrong; between the
        two the loop has read.
        """
        if self._review is not None:
            self._review.cancel()
            self._review = None
        if not self._waiting:
            for request in self._granted.values():
                request.rounds = 0
            return
        late = [connection for connection, request in self._granted.items() if request.rounds]
        for request in self._granted.values():
            request.rounds += 1
        self._begin_review()
        for connection in late:
            self._end(connection, self._grant_s)
