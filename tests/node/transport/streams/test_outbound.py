"""The stream that a node opens to a peer: who may be at the other end."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import replace

import pytest

from django_hacache.conf import Host
from django_hacache.node.transport.authentication.credentials import EXTENSION_VERSION
from django_hacache.node.transport.streams.listening import start_server
from django_hacache.node.transport.streams.outbound import OutboundStream
from django_hacache.node.transport.streams.outbox import Outbox
from django_hacache.node.transport.streams.server import StreamServer
from django_hacache.wire import cache_pb2 as pb
from tests.node.transport.lanes.test_lane import until
from tests.node.transport.streams.test_server import config_of
from tests.node_process import free_port

SERVED = ["default", "pages"]


class Events:
    """The runtimes of both ends."""

    def __init__(self, name):
        self.name = name
        self.connected = []
        self.lost = []

    def greeting(self):
        return pb.Ack(
            mgmt_ack=pb.MgmtAck(
                leader_info=pb.LeaderInfo(
                    node_addr=self.name, extension_version=EXTENSION_VERSION, caches=SERVED
                )
            )
        )

    def stream_opened(self, stream):
        pass

    def stream_closed(self, stream):
        pass

    def peer_connected(self, addr, lane_port, caches, limits):
        self.connected.append((addr, list(caches)))

    def peer_answered(self, addr, ack):
        pass

    def peer_disconnected(self, addr):
        pass

    def peer_lost(self, addr, *, refused):
        self.lost.append(addr)


@pytest.mark.parametrize("is_the_peer", [True, False])
def test_only_the_peer_itself_is_taken_for_it(is_the_peer, caplog):
    port = free_port()
    config = replace(config_of(port), reconnect_lower_ms=1, reconnect_upper_ms=2)
    peer = f"127.0.0.1:{port}"
    events = Events(peer if is_the_peer else "127.0.0.1:2")

    async def scenario():
        server = await start_server(
            config, StreamServer(config, frozenset({"127.0.0.1:1"}), events, max_request_bytes=1 << 20)
        )
        stream = OutboundStream(
            config, Host("http", "127.0.0.1", 1), Host("http", "127.0.0.1", port), events, random.Random(1)
        )
        stream.start()
        try:
            # Someone who is not the peer is met again and again, and told of once.
            await until(lambda: events.connected if is_the_peer else len(events.lost) > 2)
            assert stream.connected is is_the_peer
            assert events.connected == ([(peer, SERVED)] if is_the_peer else [])
        finally:
            await stream.close()
            await server.stop(None)

    asyncio.run(scenario())
    told = [] if is_the_peer else [f"no stream to {peer}: the node 127.0.0.1:2 answers there"]
    assert [message for message in caplog.messages if "answers there" in message] == told


class Base(Events):
    """A program of the base schema, or since `upgraded` a node."""

    upgraded = False

    def greeting(self):
        return (
            super().greeting() if self.upgraded else pb.Ack(mgmt_ack=pb.MgmtAck(leader_info=pb.LeaderInfo()))
        )


def test_a_program_of_the_base_schema_among_the_hosts_is_an_error_until_a_node_answers_there(caplog):
    port = free_port()
    config = replace(config_of(port), reconnect_lower_ms=1, reconnect_upper_ms=2)
    events = Base(f"127.0.0.1:{port}")

    async def serving(until_):
        server = await start_server(
            config, StreamServer(config, frozenset({"127.0.0.1:1"}), events, max_request_bytes=1 << 20)
        )
        await until(until_)
        await server.stop(None)

    async def scenario():
        stream = OutboundStream(
            config, Host("http", "127.0.0.1", 1), Host("http", "127.0.0.1", port), events, random.Random(1)
        )
        stream.start()
        try:
            for _ in range(2):
                await serving(lambda: stream.is_base)
            assert not stream.connected
            events.upgraded = True
            await serving(lambda: stream.connected)
            assert not stream.is_base
        finally:
            await stream.close()

    asyncio.run(scenario())
    (said,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert f"127.0.0.1:{port} is in HA_HOSTS and speaks the base protocol only" in said.message


def test_an_append_that_a_slow_link_may_still_be_at_is_on_its_way():
    """What gRPC has taken the kernel may have yet to send. But nothing is on its way for ever."""

    async def scenario():
        config = config_of(free_port())
        stream = OutboundStream(config, config.hosts[0], config.hosts[0], Events("peer"), random.Random(1))
        request, place = pb.CacheRequest(append=pb.Append()), (1, 7)
        assert not stream.send_append(place, request, 10_000_000)
        assert not stream.append_moves()
        stream._outbox = Outbox(pb.CacheRequest, limit=1000, bundles=True)
        # The first one asks where the logs meet, at the same place.
        for size in (0, 10_000_000):
            assert stream.send_append(place, request, size)
        assert stream.append_moves()
        until = stream._append
        assert stream.send_append(place, request, 10_000_000)
        assert stream._append == until
        stream.forget_append()
        assert not stream.append_moves()

    asyncio.run(scenario())


@pytest.mark.parametrize("streams_of_the_peer", [1, 2])
def test_a_peer_that_is_seen_to_be_there_is_not_waited_for_but_once_after_each_stream(streams_of_the_peer):
    """It opens its own stream first. Two that refuse each other would try again and again without a pause.

    That it opened one while there was ours, too, says nothing of whether it is there once ours is lost.
    """
    port = free_port()
    config = replace(config_of(port), reconnect_lower_ms=60_000, reconnect_upper_ms=60_000)
    events = Events(f"127.0.0.1:{port}")
    stream_server = StreamServer(config, frozenset({"127.0.0.1:1"}), events, max_request_bytes=1 << 20)

    async def scenario():
        stream = OutboundStream(
            config, Host("http", "127.0.0.1", 1), Host("http", "127.0.0.1", port), events, random.Random(1)
        )
        stream.start()
        try:
            await until(lambda: len(events.lost) == 1)
            for times in (1, 2):
                server = await start_server(config, stream_server)
                stream.is_there()
                await until(lambda times=times: len(events.connected) == times)
                for _ in range(1, streams_of_the_peer):
                    stream.is_there()
                await server.stop(None)
                await until(lambda times=times: len(events.lost) == 1 + times)
            for _ in range(2):
                stream.is_there()
                await until(lambda: len(events.lost) == 4)
            assert not stream.connected
            await asyncio.sleep(0.05)  # another try would have failed by now
            assert len(events.lost) == 4
        finally:
            await stream.close()

    asyncio.run(scenario())
