"""The receiving side of a connection: takes some frames in each turn of the loop, and leaves the rest for the next.

So a peer that sends many at once does not keep the loop from others. Must not know what is in a frame, nor who sent it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from django_hacache.exceptions import LinkError
from django_hacache.link.framing import Oversize

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django_hacache.link.framing import FrameReader

# How many bytes one connection may have taken in a turn; each frame counts for some more than it has.
BYTES_AT_ONCE = 64 << 10
FRAME_COSTS = 1 << 10


class Framed(asyncio.Protocol):
    """A protocol of asyncio that receives frames; subclasses take them."""

    _frames: FrameReader
    _transport: asyncio.Transport | None = None
    # Whether frames that have arrived wait for the next turn: nothing may be read before they are taken.
    _busy = False
    _paused = False

    def payload_received(self, payload: bytes | Oversize) -> None:
        """Take one payload. Raises LinkError or DecodeError where it is not one of this protocol."""
        raise NotImplementedError

    def all_received(self) -> None:
        """Called when every payload that has arrived was taken; the reader may keep the beginning of another."""

    def broken(self, error: Exception) -> None:
        """Called when bytes are no frame, or a payload is not one of this protocol."""
        raise NotImplementedError

    def pause(self) -> None:
        """Read nothing more for now."""
        self._paused = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        self._paused = False
        if self._transport is not None and not self._busy and not self._transport.is_closing():
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        try:
            payloads = self._frames.feed(data)
            if isinstance(payloads, tuple) and len(data) <= BYTES_AT_ONCE - FRAME_COSTS:
                # The ordinary case: one payload that leaves room for more.
                self.payload_received(payloads[0])
                if self._transport is not None:
                    self.all_received()
            else:
                self._take(iter(payloads))
        except (LinkError, DecodeError) as error:
            self.broken(error)

    def _take(self, payloads: Iterator[bytes | Oversize]) -> None:
        size = 0
        for payload in payloads:
            self.payload_received(payload)
            transport = self._transport
            if transport is None:
                return
            size += FRAME_COSTS if isinstance(payload, Oversize) else FRAME_COSTS + len(payload)
            if size >= BYTES_AT_ONCE and not transport.is_closing():
                self._busy = True
                transport.pause_reading()
                asyncio.get_running_loop().call_soon(self._go_on, payloads)
                return
        self.all_received()

    def _go_on(self, payloads: Iterator[bytes | Oversize]) -> None:
        self._busy = False
        if self._transport is None or self._transport.is_closing():
            return
        if not self._paused:
            self._transport.resume_reading()
        try:
            self._take(payloads)
        except (LinkError, DecodeError) as error:
            self.broken(error)
