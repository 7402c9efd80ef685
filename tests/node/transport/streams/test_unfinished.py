"""What clients have sent of messages that are not whole is bounded, in bytes and in time, whatever gRPC keeps of it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys

import grpc
import pytest

from django_hacache.conf import ClusterConfig, Host
from django_hacache.node.transport.streams import unfinished as module
from django_hacache.node.transport.streams.listening import start_server
from django_hacache.node.transport.streams.server import StreamServer
from django_hacache.node.transport.streams.unfinished import (
    AROUND_BYTES,
    IDLE_BYTES_PER_S,
    LITTLE_BYTES,
    LOOK_S,
    MESSAGES,
    PATIENCE_S,
    Unfinished,
)
from django_hacache.wire import cache_pb2 as pb
from tests.node.streams import METADATA, METHOD
from tests.node.transport.streams import half_messages
from tests.node_process import TOKEN, free_port

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux counts what came over a connection"
)

LARGEST = 256 << 10


class Clients:
    """Connections that are counted, and a clock."""

    def __init__(self, stack):
        self.now = 1000.0
        self.said = []
        self.accepted = {}
        self.stack = stack
        self.listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.unfinished = Unfinished(LARGEST, lambda *told: self.said.append(told), lambda: self.now)

    async def connect(self):
        """One end, and the other one's address as gRPC writes it."""
        end = self.stack.enter_context(socket.create_connection(self.listener.getsockname(), timeout=20))
        self.accepted[end] = self.stack.enter_context(self.listener.accept()[0])
        peer = "ipv4:{}:{}".format(*end.getsockname())
        await self.unfinished.enter(peer)
        return end, peer

    def send(self, end, size):
        """Send so much, and have it read."""
        while size:
            part = min(size, 16 << 10)
            end.sendall(bytes(part))
            read = 0
            while read < part:
                read += len(self.accepted[end].recv(part))
            size -= part

    def all_leave(self):
        for peer, line in tuple(self.unfinished._lines.items()):
            for _ in range(line.streams):
                self.unfinished.leave(peer)

    def look(self, after_s=LOOK_S):
        self.now += after_s
        if self.unfinished._timer is not None:
            self.unfinished._timer.cancel()
        self.unfinished._look()


@pytest.fixture
def run():
    def in_loop(scenario):
        async def bounded():
            with contextlib.ExitStack() as stack:
                clients = Clients(stack)
                stack.callback(clients.all_leave)
                async with asyncio.timeout(20):
                    await scenario(clients, clients.unfinished)

        asyncio.run(bounded())

    return in_loop


def ended(end):
    """Whether the other end has hung up."""
    end.setblocking(False)
    try:
        return end.recv(1) == b""
    except BlockingIOError:
        return False


def test_whole_messages_and_what_goes_with_them_are_no_part_of_one(run):
    async def scenario(clients, unfinished):
        end, peer = await clients.connect()
        for size in (1, 1000, 100_000):
            clients.send(end, size + AROUND_BYTES)
            unfinished.whole(peer, size)
            unfinished.goes_on(peer)
            clients.look()
            assert unfinished.bytes == 0
        for _ in range(100):
            clients.send(end, IDLE_BYTES_PER_S)
            clients.look(after_s=1)
        assert unfinished.bytes == 0
        assert not ended(end)

    run(scenario)


def test_the_time_without_any_client_explains_nothing_of_what_the_next_one_sends(run):
    async def scenario(clients, unfinished):
        clients.now += 86_400
        end, _ = await clients.connect()
        clients.send(end, LARGEST)
        clients.look()
        assert unfinished.bytes > LARGEST // 2

    run(scenario)


def test_beyond_what_all_may_have_the_one_that_has_most_goes(run):
    async def scenario(clients, unfinished):
        small, large = [(await clients.connect())[0] for _ in range(2)]
        for _ in range(MESSAGES - 1):
            clients.send(large, LARGEST)
            clients.look()
        clients.send(small, LARGEST // 2)
        clients.look()
        assert not clients.said
        clients.send(large, LARGEST)
        clients.look()
        assert [ended(small), ended(large)] == [False, True]
        assert [reason for reason, _ in clients.said] == ["unfinished"]
        clients.look()
        assert len(clients.said) == 1
        assert unfinished.bytes <= LARGEST // 2

    run(scenario)


def test_a_message_that_is_not_whole_in_time_goes_and_one_that_waits_to_be_taken_does_not(run):
    async def scenario(clients, unfinished):
        (stuck, _), (waiting, peer), (quiet, _) = [await clients.connect() for _ in range(3)]
        unfinished.whole(peer, 10)
        for end in (stuck, waiting):
            clients.send(end, 2 * LITTLE_BYTES)
        clients.look()
        clients.look(after_s=PATIENCE_S)
        assert [ended(end) for end in (stuck, waiting, quiet)] == [True, False, False]
        unfinished.goes_on(peer)
        clients.look()
        assert not ended(waiting)
        clients.send(waiting, 2 * LITTLE_BYTES)
        clients.look(after_s=PATIENCE_S)
        assert ended(waiting)

    run(scenario)


def test_streams_of_one_connection_have_one_account_until_the_last_one_goes(run):
    async def scenario(clients, unfinished):
        end, peer = await clients.connect()
        await asyncio.gather(unfinished.enter(peer), unfinished.enter(peer))
        clients.send(end, LARGEST)
        clients.look()
        held = unfinished.bytes
        assert held > LARGEST // 2
        unfinished.leave(peer)
        unfinished.leave(peer)
        assert unfinished.bytes == held
        unfinished.leave(peer)
        assert unfinished.bytes == 0
        await unfinished.enter("ipv4:127.0.0.1:1")  # it has gone already
        unfinished.leave("ipv4:127.0.0.1:1")

    run(scenario)


def test_a_client_that_begins_messages_and_ends_none_is_hung_up_on_and_the_others_are_served(
    monkeypatch, caplog
):
    monkeypatch.setattr(module, "LOOK_S", 0.01)

    class Echo:
        def greeting(self):
            return pb.Ack(mgmt_ack=pb.MgmtAck(leader_info=pb.LeaderInfo()))

        def stream_opened(self, stream):
            pass

        def stream_closed(self, stream):
            pass

        def stream_request(self, stream, request):
            stream.reply(pb.Ack(put_ack=pb.PutAck(mod_res=True)))

    async def scenario():
        host = Host("http", "127.0.0.1", free_port())
        config = ClusterConfig(True, (host,), host.addr, TOKEN, None, 8, 64, 5, 5, 250, 1000, 2)
        stream_server = StreamServer(config, frozenset(), Echo(), max_request_bytes=LARGEST)
        server = await start_server(config, stream_server)
        try:
            async with asyncio.timeout(30), grpc.aio.insecure_channel(host.addr) as channel:
                honest = channel.stream_stream(METHOD)(metadata=METADATA)
                await honest.read()
                greedy = await asyncio.to_thread(half_messages.begin, host.addr, LARGEST)
                while len(stream_server.unfinished._lines) < 2:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.001)
                fill = asyncio.to_thread(half_messages.fill, greedy, 4 * MESSAGES * LARGEST)
                filling = asyncio.ensure_future(fill)
                while len(stream_server._clients) > 1:  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.001)
                with contextlib.suppress(OSError):
                    greedy.shutdown(socket.SHUT_RDWR)  # what is ended need not notice
                with contextlib.suppress(OSError):
                    await filling
                greedy.close()
                large = pb.CacheRequest(put=pb.Put(value=bytes(LARGEST - 100))).SerializeToString()
                for _ in range(3 * MESSAGES):
                    await honest.write(large)
                    assert pb.Ack.FromString(await honest.read()).put_ack.mod_res
                honest.cancel()
        finally:
            await server.stop(None)

    asyncio.run(scenario())
    (said,) = (record.message for record in caplog.records if record.name == "django_hacache.node")
    assert "not whole" in said
