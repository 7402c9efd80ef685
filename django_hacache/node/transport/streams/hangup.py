"""Finds a connection of gRPC's server by the address of its other end, and ends it: gRPC has no way to do that.

What is written to a stream stays in memory until it is read or its connection ends, and so does the end of the stream
behind it. The connection is found among the descriptors of this process. Knows no streams.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
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
        if _is_from(wanted, int(name)) and (found := _copied(wanted, int(name))):
            return found
    return None


def _copied(wanted: tuple[str, int], descriptor: int) -> socket.socket | None:
    """A socket of its own for that connection; None where the descriptor is by now of something else.

    gRPC closes and accepts in threads of its own, at any moment.
    """
    try:
        copy = os.dup(descriptor)
    except OSError:
        return None
    if _is_from(wanted, copy):
        return socket.socket(fileno=copy)
    if stat.S_ISSOCK(os.fstat(copy).st_mode):
        os.close(copy)  # and a file's stays open: see below
    return None


def hang_up(connection: socket.socket) -> None:
    """End it, whoever else in this process has it open."""
    with contextlib.suppress(OSError):  # it has ended
        connection.shutdown(socket.SHUT_RDWR)


def _is_from(wanted: tuple[str, int], descriptor: int) -> bool:
    """Whether it is of that connection.

    Nothing is opened or closed for that: to close any descriptor of a file gives up all locks that this process has on
    it, those of the replica among them.
    """
    try:
        found = socket.socket(fileno=descriptor)
    except OSError:
        return False
    try:
        return found.family in FAMILIES and _address(*found.getpeername()[:2]) == wanted
    except OSError:
        return False
    finally:
        found.detach()


def _address(host: str, port: str | int) -> tuple[str, int]:
    """In one form: a socket for both kinds shows IPv4 as IPv6."""
    address = ip_address(host.strip("[]").partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(address), int(port)
