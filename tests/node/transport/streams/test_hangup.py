"""A connection is ended from the inside, known by the address of its other end."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest

from django_hacache.node.transport.streams.hangup import connection_from, hang_up


@pytest.mark.parametrize(
    ("listens", "connects", "shown"),
    [
        ("127.0.0.1", "127.0.0.1", "ipv4:{}:{}"),
        ("::", "127.0.0.1", "ipv4:{}:{}"),
        ("::1", "::1", "ipv6:[{}]:{}"),
    ],
)
def test_the_connection_from_an_address_ends_and_no_other_one(listens, connects, shown):
    family = socket.AF_INET6 if ":" in listens else socket.AF_INET
    try:
        listener = socket.create_server((listens, 0), family=family, dualstack_ipv6=listens == "::")
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listener:
        port = listener.getsockname()[1]
        ends = [socket.create_connection((connects, port), timeout=20) for _ in range(3)]
        accepted = [listener.accept()[0] for _ in ends]
        host, own = ends[1].getsockname()[:2]
        peer = shown.format(host, own)
        with asyncio.run(connection_from(urllib.parse.quote(peer, safe=":."))) as found:
            hang_up(found)
            hang_up(found)
        assert ends[1].recv(1) == b""
        for one in (0, 2):
            ends[one].sendall(b"x")
            assert accepted[one].recv(1) == b"x"
        accepted[1].close()
        assert asyncio.run(connection_from(peer)) is None
        for end in (*ends, *accepted):
            end.close()


LOCKED = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print("locked")
"""


def test_to_look_for_a_connection_gives_up_no_lock_of_a_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x")
    with path.open("r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        assert asyncio.run(connection_from("ipv4:127.0.0.1:1")) is None
        told = subprocess.run(
            [sys.executable, "-c", LOCKED, path], check=True, capture_output=True, text=True, timeout=60
        )
        assert told.stdout == "locked\n"


def test_a_descriptor_that_is_another_connection_s_by_the_time_it_is_copied_is_not_taken(monkeypatch):
    """gRPC closes and accepts in threads of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    wanted, other = (socket.create_connection(listener.getsockname()) for _ in range(2))
    accepted = [listener.accept()[0] for _ in range(2)]
    name = "ipv4:{}:{}".format(*wanted.getsockname())
    copy, before = os.dup, len(list(Path("/dev/fd").iterdir()))

    def exchanged(descriptor):
        if descriptor == accepted[0].fileno():
            os.dup2(accepted[1].fileno(), descriptor)
        return copy(descriptor)

    monkeypatch.setattr(os, "dup", exchanged)
    assert asyncio.run(connection_from(name)) is None
    assert len(list(Path("/dev/fd").iterdir())) <= before
    for one in (listener, wanted, other, *accepted):
        one.close()
