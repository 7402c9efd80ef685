"""The order of what a node says on a stream that was opened to it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import grpc

from django_hacache.conf import ClusterConfig, Host
from django_hacache.node.transport.authentication import credentials
from django_hacache.node.transport.streams.inbound import InboundStream
from django_hacache.node.transport.streams.listening import start_server
from django_hacache.node.transport.streams.server import StreamServer
from django_hacache.wire import cache_pb2 as pb
from tests.node.streams import METHOD
from tests.node_process import TOKEN, free_port


class EagerEvents:
    """A node that sends a heartbeat on each stream in the moment in which it is opened."""

    def greeting(self):
        return pb.Ack(mgmt_ack=pb.MgmtAck(leader_info=pb.LeaderInfo(node_addr="node:1")))

    def stream_opened(self, stream):
        stream.send(pb.Ack(mgmt_ack=pb.MgmtAck(ping=pb.Ping(term=1))), urgent=True)

    def stream_request(self, stream, request):
        raise AssertionError(request)

    def stream_closed(self, stream):
        pass


def config_of(port):
    return ClusterConfig(
        ha_mode=True,
        hosts=(Host("http", "127.0.0.1", port), Host("http", "127.0.0.1", 1), Host("http", "127.0.0.1", 2)),
        hostname=f"127.0.0.1:{port}",
        auth_token=TOKEN,
        tls=None,
        buf_server=8,
        buf_client=8,
        keepalive_interval_s=5,
        keepalive_timeout_s=5,
        reconnect_lower_ms=250,
        reconnect_upper_ms=1000,
        election_timeout_s=2,
    )


def test_no_heartbeat_overtakes_the_first_message():
    port = free_port()
    config = config_of(port)

    async def first_two():
        stream_server = StreamServer(
            config, frozenset({"127.0.0.1:1"}), EagerEvents(), max_request_bytes=1 << 20
        )
        server = await start_server(config, stream_server)
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                call = channel.stream_stream(METHOD)(metadata=credentials.metadata(TOKEN, "127.0.0.1:1"))
                return [pb.Ack.FromString(await asyncio.wait_for(call.read(), 20)) for _ in range(2)]
        finally:
            await server.stop(None)

    greeting, heartbeat = asyncio.run(first_two())
    assert greeting.mgmt_ack.leader_info.node_addr == "node:1"
    assert heartbeat.mgmt_ack.ping.term == 1


def test_nodes_that_the_hosts_do_not_list_are_told_of_once(caplog):
    port = free_port()
    config = config_of(port)

    async def knock():
        stream_server = StreamServer(
            config, frozenset({"127.0.0.1:1"}), EagerEvents(), max_request_bytes=1 << 20
        )
        server = await start_server(config, stream_server)
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                for stranger in ("10.9.9.8:1", "10.9.9.9:1", "10.9.9.9:1"):
                    call = channel.stream_stream(METHOD)(metadata=credentials.metadata(TOKEN, stranger))
                    assert await asyncio.wait_for(call.code(), 20) is grpc.StatusCode.PERMISSION_DENIED
        finally:
            await server.stop(None)

    asyncio.run(knock())
    assert [one.getMessage() for one in caplog.records if one.name.startswith("django_hacache")] == [
        "a node that calls itself 10.9.9.8:1 connected; HA_HOSTS does not list it"
    ]


def test_who_shows_the_token_of_clients_is_no_member_whatever_address_it_announces(caplog):
    port = free_port()
    config = replace(config_of(port), node_token="the token of the nodes, and of nobody else")

    async def speak():
        stream_server = StreamServer(
            config, frozenset({"127.0.0.1:1"}), EagerEvents(), max_request_bytes=1 << 20
        )
        server = await start_server(config, stream_server)
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                shown = credentials.metadata(TOKEN, "127.0.0.1:1")
                call = channel.stream_stream(METHOD)(metadata=shown)
                assert await asyncio.wait_for(call.code(), 20) is grpc.StatusCode.PERMISSION_DENIED
                client = channel.stream_stream(METHOD)(metadata=shown[:1])
                greeting = pb.Ack.FromString(await asyncio.wait_for(client.read(), 20))
                assert greeting.mgmt_ack.leader_info.node_addr == "node:1"
                client.cancel()
        finally:
            await server.stop(None)

    asyncio.run(speak())
    # gRPC may have something to say of the end of its server.
    assert [one.getMessage() for one in caplog.records if one.name.startswith("django_hacache")] == [
        "a stream was refused to '127.0.0.1:1': it shows the token of clients, and says it is a node"
    ]


def test_a_later_stream_of_a_node_takes_the_place_of_the_one_that_it_had():
    port = free_port()
    config = config_of(port)
    closed = []

    class Quiet(EagerEvents):
        def stream_closed(self, stream):
            closed.append(stream.addr)

    async def speak():
        stream_server = StreamServer(config, frozenset({"127.0.0.1:1"}), Quiet(), max_request_bytes=1 << 20)
        server = await start_server(config, stream_server)
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                calls = []
                for addr in ("127.0.0.1:1", "127.0.0.1:1", ""):
                    shown = credentials.metadata(TOKEN, addr)[: None if addr else 1]
                    calls.append(channel.stream_stream(METHOD)(metadata=shown))
                    for _ in range(2):  # the greeting and a heartbeat
                        await asyncio.wait_for(calls[-1].read(), 20)
                assert await asyncio.wait_for(calls[0].code(), 20) is grpc.StatusCode.ABORTED
                assert closed == ["127.0.0.1:1"]
                assert not calls[1].done()
                for call in calls[1:]:
                    call.cancel()
        finally:
            await server.stop(None)

    asyncio.run(speak())


def test_clients_that_flood_are_told_of_once_wherever_they_are(caplog, monkeypatch):
    class Spent:
        def spend(self, size):
            return 1e-9

    async def requests():
        yield pb.CacheRequest().SerializeToString()

    async def flood():
        monkeypatch.setattr(EagerEvents, "stream_request", lambda _, stream, request: stream.reply(None))
        stream_server = StreamServer(config_of(1), frozenset(), EagerEvents(), max_request_bytes=1 << 20)
        for number in range(100):
            stream = InboundStream("", host=f"10.0.0.{number}", budget=Spent(), limit=1 << 20, unanswered=1)
            await stream_server._read(stream, requests())

    asyncio.run(flood())
    [message] = caplog.messages
    assert message.startswith("a client at 10.0.0.0 has more than")
