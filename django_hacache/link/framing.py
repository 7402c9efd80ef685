"""Frames on the socket: 4 bytes of length, big endian, and that many bytes. Must not know what they mean."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from django_hacache.exceptions import LinkError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HEADER = Struct(">I")
HEADER_BYTES = HEADER.size

# A frame that announces more is not of our protocol: the connection ends. One that is only too large is skipped.
FRAME_BYTES_MAX = 256 * 1024 * 1024


class Oversize(int):
    """Stands for a payload that was skipped; its value is the payload's length in bytes."""


def frame(payload: bytes) -> bytes:
    return HEADER.pack(len(payload)) + payload


def in_two(payload: bytes) -> tuple[bytes, bytes]:
    """Return header and payload of a frame apart, for a payload that is too large to be copied once more."""
    return HEADER.pack(len(payload)), payload


def payload_length(header: bytes | bytearray | memoryview) -> int:
    """Return the length in bytes that a frame's header announces.

    Raises LinkError where no peer of ours would announce so much.
    """
    (length,) = HEADER.unpack_from(header)
    if length > FRAME_BYTES_MAX:
        raise LinkError(f"A frame announces {length} bytes; at most {FRAME_BYTES_MAX} are possible.")
    return length  # type: ignore[no-any-return]  # struct does not say


class FrameReader:
    """Cuts a stream of bytes into payloads; skips a payload longer than `payload_bytes_max` unseen.

    Memory grows with the bytes that arrived, never with the length that was announced.
    """

    __slots__ = ("_buffer", "_skip", "_skipped", "payload_bytes_max")

    def __init__(self, payload_bytes_max: int) -> None:
        # May be changed at any time; the new value counts for a payload that has begun, too.
        self.payload_bytes_max = payload_bytes_max
        self._buffer = bytearray()
        self._skip = 0
        self._skipped = 0

    @property
    def begun(self) -> int:
        """The length of the payload that has arrived in part; 0 where there is none, or its length is not known yet."""
        return payload_length(self._buffer) if len(self._buffer) >= HEADER_BYTES else 0

    @property
    def waiting(self) -> int:
        """How many bytes have arrived of a frame that is not whole."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterable[bytes | Oversize]:
        """Take the bytes that arrived and return the payloads that are complete now.

        Raises LinkError, at once or while the payloads are taken, where the bytes are not frames; the reader is of
        no use afterwards.
        """
        # The ordinary case first: nothing waits, and one whole frame has come.
        if len(data) >= HEADER_BYTES and not self._buffer and not self._skip:
            (length,) = HEADER.unpack_from(data)
            if len(data) == HEADER_BYTES + length and length <= self.payload_bytes_max:
                return (data[HEADER_BYTES:],)
        return self._cut(data)

    def _cut(self, data: bytes) -> Iterator[bytes | Oversize]:
        buffer = self._buffer
        if self._skip:
            taken = min(self._skip, len(data))
            self._skip -= taken
            if self._skip:
                return
            data = data[taken:]
            yield Oversize(self._skipped)
        buffer += data
        while len(buffer) >= HEADER_BYTES:
            length = payload_length(buffer)
            end = HEADER_BYTES + length
            if length > self.payload_bytes_max:
                yield from self._begin_skipping(length)
                if self._skip:
                    return
            elif len(buffer) < end:
                return
            else:
                payload = bytes(memoryview(buffer)[HEADER_BYTES:end])
                del buffer[:end]
                yield payload

    def _begin_skipping(self, length: int) -> Iterator[Oversize]:
        end = HEADER_BYTES + length
        self._skip = max(0, end - len(self._buffer))
        self._skipped = length
        del self._buffer[:end]
        if not self._skip:
            yield Oversize(length)
