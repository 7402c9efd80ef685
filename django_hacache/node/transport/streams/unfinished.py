"""Bounds what clients have sent of messages that are not whole: of all clients together, and in time.

gRPC keeps it, with the buffers in which it came, and tells nobody. So the node asks the kernel how much has come over
each connection: what was not part of a whole message is still there, or was worth nothing. Beyond the bounds the node
ends the connection. Knows no messages and no streams.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django_hacache.node.transport.streams.hangup import connection_from, hang_up
from django_hacache.system.platform import received_bytes

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

# So many messages of the largest size.
MESSAGES = 8
# How long a message may be on its way: one of 10 MiB at 3 Mbit/s.
PATIENCE_S = 30.0
LOOK_S = 0.25
# Below that it is what goes with the messages: frames, headers, answers to pings. Nobody is sent away for it.
LITTLE_BYTES = 64 << 10
# What may come beside the messages: with each one, with its bytes and those of its answer, in a second.
AROUND_BYTES = 256
AROUND_SHARE = 16
ANSWERS_SHARE = 64
IDLE_BYTES_PER_S = 1024


@dataclass(slots=True, eq=False)
class _Line:
    """The connection of some streams. `level`: what came over it and was not part of a whole message."""

    connection: socket.socket
    received: int
    whole_at: float
    streams: int = 0
    explained: float = 0.0
    level: float = 0.0
    # Messages that have come and have to wait: nobody reads on behind them.
    waiting: int = 0


class Unfinished:
    """The connections of clients.

    Args:
        largest: bytes of the largest message.
        complain: says why a connection was ended.
    """

    def __init__(
        self, largest: int, complain: Callable[[str, str], None], now: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit = MESSAGES * largest
        self._complain = complain
        self._now = now
        self._lines: dict[str, _Line] = {}
        self._looked_at = now()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def bytes(self) -> int:
        return int(sum(line.level for line in self._lines.values()))

    async def enter(self, peer: str) -> None:
        """A client's stream begins on the connection from `peer`, as gRPC writes it."""
        if peer not in self._lines:
            found = await connection_from(peer)
            # It may have gone meanwhile, or another of its streams was quicker.
            if found is None or peer in self._lines:
                _close(found)
            else:
                self._lines[peer] = _Line(found, _received(found), self._now())
        if peer in self._lines:
            self._lines[peer].streams += 1
        self._watch()

    def leave(self, peer: str) -> None:
        line = self._lines.get(peer)
        if line is None:
            return
        line.streams -= 1
        if line.streams <= 0:
            _close(line.connection)
            del self._lines[peer]

    def hang_up(self, peer: str) -> None:
        """End the connection from `peer`: a client that reads nothing cannot be told that its stream has ended."""
        line = self._lines.get(peer)
        if line is not None:
            hang_up(line.connection)

    def whole(self, peer: str, size: int) -> None:
        """A whole message has come over the connection."""
        line = self._lines.get(peer)
        if line is not None:
            line.explained += AROUND_BYTES + size + size // AROUND_SHARE
            line.waiting += 1

    def goes_on(self, peer: str) -> None:
        """The message is taken, and the node waits for the next one."""
        line = self._lines.get(peer)
        if line is not None:
            line.waiting -= 1
            line.whole_at = self._now()

    def answered(self, peer: str, size: int) -> None:
        """The client has read an answer; TCP and HTTP/2 say so in bytes of their own."""
        line = self._lines.get(peer)
        if line is not None:
            line.explained += size // ANSWERS_SHARE

    def _watch(self) -> None:
        if self._timer is None and self._lines:
            self._looked_at = self._now()
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _look(self) -> None:
        now = self._now()
        idle_bytes = IDLE_BYTES_PER_S * (now - self._looked_at)
        self._timer = None
        self._watch()
        lines = list(self._lines.items())
        for _, line in lines:
            received = _received(line.connection)
            came, line.received = received - line.received, received
            line.level = max(0.0, line.level + came - line.explained - idle_bytes)
            line.explained = 0.0
        for peer, line in sorted(lines, key=lambda named: named[1].level, reverse=True):
            if self.bytes > self.limit:
                self._end(peer, line, "more than all clients together may")
            elif not line.waiting and line.level > LITTLE_BYTES and now - line.whole_at >= PATIENCE_S:
                self._end(peer, line, f"and nothing whole for {PATIENCE_S:g} s")

    def _end(self, peer: str, line: _Line, why: str) -> None:
        self._complain(
            "unfinished",
            f"the connection of a client at {peer} was ended: it has sent {int(line.level)} bytes of messages that are "
            f"not whole, {why}",
        )
        hang_up(line.connection)
        line.level = 0.0


def _received(connection: socket.socket) -> int:
    """What has come over a connection; 0 where the system does not count it, so that nobody is sent away for it."""
    return received_bytes(connection) or 0


def _close(connection: socket.socket | None) -> None:
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.close()
