"""Finds a connection of gRPC's server by the address of its other end, and ends it: gRPC has no way to do that.

What is written to a stream stays in memory until it is read or its connection ends, and so does the end of the stream
behind it. The connection is found among the descriptors of this process. Knows no streams.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import urllib.parse
from ipaddress import IPv6Address, ip_address

# Linux has it as a link to /proc/self/fd.
DESCRIPTORS = "/dev/fd"
# Of what a turn of the event loop looks at, where there may be tens of thousands.
AT_ONCE = 100
FAMILIES = (socket.AF_INET, socket.AF_INET6)


async def connection_from(peer: str) -> socket.socket | None:
    """The connection from `peer`, as gRPC writes it ("ipv4:127.0.0.1:40000"); to be closed by who asked."""
    wanted = _address(*urllib.parse.unquote(peer).partition(":")[2].rpartition(":")[::2])
    for number, name in enumerate(os.listdir(DESCRIPTORS)):  # noqa: PTH208 - of the kernel's memory, at once
        if number % AT_ONCE == AT_ONCE - 1:
            await asyncio.sleep(0)
        connection = _connection(int(name))
        if connection is None:
            continue
        with contextlib.suppress(OSError):
            if _address(*connection.getpeername()[:2]) == wanted:
                return connection
        connection.close()
    return None


def hang_up(connection: socket.socket) -> None:
    """End it, whoever else in this process has it open."""
    with contextlib.suppress(OSError):  # it has ended
        connection.shutdown(socket.SHUT_RDWR)


def _connection(descriptor: int) -> socket.socket | None:
    """The network socket that it is of, by another descriptor: this one may be closed and be another file's by now."""
    try:
        own = os.dup(descriptor)
    except OSError:
        return None
    try:
        found = socket.socket(fileno=own)
    except OSError:
        os.close(own)
        return None
    if found.family in FAMILIES:
        return found
    found.close()
    return None


def _address(host: str, port: str | int) -> tuple[str, int]:
    """In one form: a socket for both kinds shows IPv4 as IPv6."""
    address = ip_address(host.strip("[]").partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(address), int(port)
