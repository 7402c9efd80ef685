"""What has come of requests that are not whole: all connections together may have so much of it, each for so long.

A connection that is beyond that is not read from until others are done. Knows no frames.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

# Who writes a request is at it for milliseconds.
PATIENCE_S = 10.0


class Connection(Protocol):
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def abort(self) -> None: ...


class Begun:
    """The requests that have begun, oldest first.

    Args:
        limit: bytes of all of them. The oldest one is always read on, so it may be more by that one.
        complain: says why a connection was ended.
    """

    def __init__(
        self, limit: int, complain: Callable[[str, str], None], *, patience_s: float = PATIENCE_S
    ) -> None:
        self._limit = limit
        self._complain = complain
        self._patience_s = patience_s
        self._sizes: dict[Connection, int] = {}
        self._paused: dict[Connection, None] = {}
        self._timers: dict[Connection, asyncio.TimerHandle] = {}
        self.bytes = 0

    def waits(self, connection: Connection, size: int) -> None:
        """So many bytes of a request are there, and more are to come; 0: it is whole, or the connection is gone."""
        before = self._sizes.pop(connection, 0) if not size else self._sizes.get(connection, 0)
        self.bytes += size - before
        if not size:
            if before:
                self._done(connection)
            return
        self._sizes[connection] = size
        if not before:
            self._watch(connection)
        if self.bytes > self._limit and connection is not self._oldest() and connection not in self._paused:
            self._paused[connection] = None
            self._timers.pop(connection).cancel()
            connection.pause()

    def _oldest(self) -> Connection | None:
        return next(iter(self._sizes), None)

    def _watch(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        self._timers[connection] = loop.call_later(self._patience_s, self._end, connection)

    def _end(self, connection: Connection) -> None:
        self._complain(
            "half",
            f"A worker has sent a part of a request and nothing more for {self._patience_s:g} s: disconnected.",
        )
        connection.abort()
        self.waits(connection, 0)

    def _done(self, connection: Connection) -> None:
        timer = self._timers.pop(connection, None)
        if timer is not None:
            timer.cancel()
        self._paused.pop(connection, None)
        oldest = self._oldest()
        if oldest in self._paused:
            self._go_on(oldest)
        while self._paused and self.bytes <= self._limit:
            self._go_on(next(iter(self._paused)))

    def _go_on(self, connection: Connection) -> None:
        del self._paused[connection]
        self._watch(connection)
        connection.resume()
