"""Pipe: one connection of a lane. It carries frames both ways, and ends where the other side falls silent.

Knows neither who opened it nor what the frames mean.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import sys
import termios
from typing import TYPE_CHECKING

from django_hacache.exceptions import LinkError
from django_hacache.link.framed import Framed
from django_hacache.link.framing import HEADER_BYTES, FrameReader, Oversize, frame, in_two
from django_hacache.node.encoding.large import LARGE_BYTES

if TYPE_CHECKING:
    from django_hacache.node.log_throttle import LogThrottle

# How a handshake begins where it was not expected: no frame of ours is so long.
TLS_HANDSHAKE = b"\x16\x03"
SPEAKS_TLS = "it speaks TLS, and this node does not (CACHE_TLS)"
KEEPALIVE_S = 0.25
# While heartbeats arrive, something comes several times in this time.
LIVELY_S = 0.3
# A lane on which nothing came for so long is of no use, whatever the reason: the stream takes over.
SILENCE_S = 1.0
# In the middle of a message that costs so many bytes a second time it is given longer: TCP that has lost much at once
# pauses for twice as long each time.
STALLED_S = 5.0
COSTLY_BYTES = 64 << 10


class Pipe(Framed):
    """What both ends of a lane have in common."""

    def __init__(self, limit: int, frame_bytes: int, throttle: LogThrottle) -> None:
        self._limit = limit
        self._throttle = throttle
        self._frames = FrameReader(frame_bytes)
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._heard_at = 0.0
        self._said = False
        self._large = 0  # bytes of the message that found none waiting: it may be larger than the limit
        self._written = 0
        self._beginning = b""
        self.closed = self._loop.create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._heard_at = self._loop.time()
        self._timer = self._loop.call_later(KEEPALIVE_S, self._keep_alive)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        self._beginning = self._beginning or data[: len(TLS_HANDSHAKE)]
        super().data_received(data)

    def payload_received(self, payload: bytes | Oversize) -> None:
        if isinstance(payload, Oversize):
            raise LinkError(f"a frame of {int(payload)} bytes")
        if payload:
            self.received(payload)

    def broken(self, error: Exception) -> None:
        why = SPEAKS_TLS if self._beginning == TLS_HANDSHAKE else f"its bytes are no message: {error}"
        self._give_up("bytes", f"{self.peer()}: {why}")

    def peer(self) -> str:
        """Who is at the other end, for the log."""
        raise NotImplementedError

    def received(self, payload: bytes) -> None:
        """Take what the other end says."""
        raise NotImplementedError

    def write(self, payload: bytes) -> bool:
        """Send a payload; False where the lane is down or full. One that the other side does not read ends now."""
        transport = self._transport
        if transport is None:
            return False
        waiting = transport.get_write_buffer_size()
        if waiting and waiting + len(payload) > self._limit:
            if waiting <= self._large:
                return False  # one message alone is more than the limit, and takes its time
            self._give_up("unread", f"{self.peer()} does not read it")
            return False
        self._said = True
        size = HEADER_BYTES + len(payload)
        if not waiting:
            self._large = size
        self._written += size
        if size < LARGE_BYTES:
            transport.write(frame(payload))
        else:
            transport.writelines(in_two(payload))
        return True

    @property
    def written(self) -> int:
        """The bytes that this end has put on the connection so far."""
        return self._written

    @property
    def taken(self) -> int:
        """Of those, the ones that have left this host: neither the loop nor the kernel keeps them."""
        if self._transport is None:
            return 0
        return self._written - self._transport.get_write_buffer_size() - _queued_by_kernel(self._transport)

    @property
    def lively(self) -> bool:
        """Whether something came a moment ago. A lane that lost a packet is silent for a while."""
        return self._loop.time() - self._heard_at < LIVELY_S

    def _keep_alive(self) -> None:
        if self._transport is None:
            return
        patience_s = STALLED_S if self._frames.begun >= COSTLY_BYTES else SILENCE_S
        if self._loop.time() - self._heard_at > patience_s:
            self._give_up("silence", f"nothing came from {self.peer()} for {patience_s:.1f} s", logging.INFO)
            return
        if not self._said:
            self._transport.write(frame(b""))
            self._written += len(frame(b""))
        self._said = False
        self._timer = self._loop.call_later(KEEPALIVE_S, self._keep_alive)

    def _give_up(self, reason: str, why: str, level: int = logging.WARNING) -> None:
        self._throttle.say(f"{self.peer()} {reason}", f"a lane ended: {why}", level=level)
        self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None


def _queued_by_kernel(transport: asyncio.Transport) -> int:
    """Bytes that the other host has not acknowledged yet."""
    connection = transport.get_extra_info("socket")
    if connection is None:
        return 0  # TLS forgets it in the moment in which it is lost
    try:
        answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:
        return 0  # a kernel that does not say: what left the loop counts
    return int.from_bytes(answer, sys.byteorder)
