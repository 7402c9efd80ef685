"""A client of its own kind: HTTP/2 by hand, which begins a message and does not end it, as no library would."""

from __future__ import annotations

import socket
import struct

from tests.node.streams import METADATA, METHOD

WINDOW = 65_535
DATA, HEADERS, SETTINGS, UNKNOWN = 0, 1, 4, 0x42
END_HEADERS, ACK = 4, 1


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def begin(addr, size):
    """A connection with a stream on it, on which the first bytes of a message of that size have come."""
    host, _, port = addr.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", METHOD),
        (":authority", addr),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        *METADATA,
    ]
    headers = b"".join(b"\0" + _text(name) + _text(value) for name, value in fields)
    connection.sendall(
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + frame(SETTINGS, 0, 0)
        + frame(SETTINGS, ACK, 0)
        + frame(HEADERS, END_HEADERS, 1, headers)
        + frame(DATA, 0, 1, b"\0" + struct.pack(">I", size) + b"begun")
    )
    return connection


def fill(connection, size):
    """Send so many bytes: little of the message, and between its parts much that has no sense and is kept with them."""
    part = frame(DATA, 0, 1, bytes(24)) + frame(UNKNOWN, 0, 0, bytes(16_000))
    assert 24 * size // len(part) < WINDOW
    connection.sendall(part * (size // len(part)))


def _text(text):
    encoded = text.encode()
    assert len(encoded) < 127
    return bytes([len(encoded)]) + encoded
