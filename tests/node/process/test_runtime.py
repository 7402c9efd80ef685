"""A node whose replica fails it: it ends, and is started again, in place of going on with what it cannot know."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from dataclasses import replace
from pathlib import Path

from django_hacache.conf import Host
from django_hacache.conf.options import cache_options
from django_hacache.exceptions import ReplicaError
from django_hacache.link.framing import frame
from django_hacache.node.process.runtime import Node
from django_hacache.replica.control import ControlPage
from django_hacache.replica.replica import Replica
from django_hacache.wire import cache_pb2 as pb
from tests.node.transport.lanes.test_lane import until
from tests.node.transport.streams.test_server import config_of
from tests.node_process import free_port
from tests.shared_memory import SHARED


def test_a_node_that_cannot_look_at_what_a_change_depends_on_ends(monkeypatch, caplog):
    port = free_port()
    config = replace(config_of(port), hosts=(Host("http", "127.0.0.1", port),), election_timeout_s=1)
    add = pb.Insert(cache_name="default", entry="a", value=b"1", req_id="1", condition=pb.CONDITION_ABSENT)

    def broken(cache, key):
        raise ReplicaError("the replica cannot be read")

    async def scenario(directory):
        replica = Replica.open(directory, writable=True, map_size=1 << 26, keeps_journal=True)
        caches = {"default": cache_options("default", str(directory), {})}
        node = Node(config, replica, ControlPage.create(directory), directory / "node.sock", caches, 1 << 30)
        await node.start()
        await until(lambda: node.core.accepts)
        monkeypatch.setattr(replica, "item", broken)
        node._from_worker(pb.CacheRequest(insert=add, timeout_ms=1000), lambda ack: None)
        await asyncio.wait_for(node.loop.failed.wait(), 10)
        await node.stop()
        replica.close()

    with tempfile.TemporaryDirectory(prefix="node-", dir=SHARED) as directory:
        asyncio.run(scenario(Path(directory) / "location"))
    assert "it cannot store what it must remember: the replica cannot be read" in caplog.text


def test_rubbish_on_the_socket_of_a_node_is_told_of_once(caplog):
    port = free_port()
    config = replace(config_of(port), hosts=(Host("http", "127.0.0.1", port),), election_timeout_s=1)

    async def scenario(directory):
        replica = Replica.open(directory, writable=True, map_size=1 << 26, keeps_journal=True)
        caches = {"default": cache_options("default", str(directory), {})}
        socket = directory / "node.sock"
        node = Node(config, replica, ControlPage.create(directory), socket, caches, 1 << 30)
        await node.start()
        for _ in range(20):
            reading, writing = await asyncio.open_unix_connection(socket)
            writing.write(frame(b"\xff\xff\xff"))
            with contextlib.suppress(ConnectionResetError):
                assert await reading.read() == b""
            writing.close()
        await node.stop()
        replica.close()

    with tempfile.TemporaryDirectory(prefix="node-", dir=SHARED) as directory:
        asyncio.run(scenario(Path(directory) / "location"))
    assert sum("bytes that are no request" in message for message in caplog.messages) == 1


def test_a_node_that_is_told_to_stop_says_so_to_its_host():
    port = free_port()
    config = replace(config_of(port), hosts=(Host("http", "127.0.0.1", port),), election_timeout_s=1)

    async def scenario(directory):
        replica = Replica.open(directory, writable=True, map_size=1 << 26, keeps_journal=True)
        caches = {"default": cache_options("default", str(directory), {})}
        page = ControlPage.create(directory)
        node = Node(config, replica, page, directory / "node.sock", caches, 1 << 30)
        await node.start()
        await until(page.writable)
        assert not page.expected()  # it is there
        await node.stop()
        assert not page.writable()
        assert page.expected()  # it may be started again
        replica.close()

    with tempfile.TemporaryDirectory(prefix="node-", dir=SHARED) as directory:
        asyncio.run(scenario(Path(directory) / "location"))
