"""Ends a connection of gRPC's server, known by the address of its other end: gRPC has no way to do that.

What is written to a stream stays in memory until it is read or its connection ends, and so does the end of the stream
behind it. The connection is found among the descriptors of this process. Knows no streams.
"""

from __future__ import annotations

import contextlib
import os
import socket
import urllib.parse
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Linux has it as a link to /proc/self/fd.
DESCRIPTORS = Path("/dev/fd")
FAMILIES = (socket.AF_INET, socket.AF_INET6)


def hang_up(peer: str) -> bool:
    """End the connection from `peer`, as gRPC writes it ("ipv4:127.0.0.1:40000"); False where there is none.

    It looks at every descriptor: not to be called in an event loop.
    """
    wanted = _address(*urllib.parse.unquote(peer).partition(":")[2].rpartition(":")[::2])
    for connection in _connections():
        with connection, contextlib.suppress(OSError):
            if _address(*connection.getpeername()[:2]) == wanted:
                connection.shutdown(socket.SHUT_RDWR)
                return True
    return False


def _connections() -> Iterator[socket.socket]:
    """Each socket of this process, by another descriptor: the first one may be closed and be another file's by now."""
    for entry in DESCRIPTORS.iterdir():
        with contextlib.suppress(OSError):
            own = os.dup(int(entry.name))
            try:
                found = socket.socket(fileno=own)
            except OSError:
                os.close(own)
                continue
            if found.family in FAMILIES:
                yield found
            else:
                found.close()


def _address(host: str, port: str | int) -> tuple[str, int]:
    """In one form: a socket for both kinds shows IPv4 as IPv6."""
    address = ip_address(host.strip("[]").partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(address), int(port)
