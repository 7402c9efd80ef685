"""The lane between two nodes: who gets one, what it carries, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket

import pytest

from django_hacache.exceptions import ConfigurationError
from django_hacache.link.framing import frame
from django_hacache.node.transport.lanes import outbound as lane_module
from django_hacache.node.transport.lanes import pipe as pipe_module
from django_hacache.node.transport.lanes.outbound import OutboundLane
from django_hacache.node.transport.lanes.server import LaneServer
from django_hacache.wire import cache_pb2 as pb
from tests.node.lanes import accepted, hello_of, opened
from tests.node.transport.lanes.ends import ME, PEER, Ends, Events, config, ended, ping, run, until
from tests.node_process import free_port


def test_it_opens_when_the_port_is_known_and_carries_both_ways():
    async def scenario():
        async with Ends() as ends:
            assert not ends.lane.send(ping(0).SerializeToString())
            await ends.up()
            for seq in range(1, 100):
                assert ends.lane.send(ping(seq).SerializeToString())
            await until(lambda: len(ends.events.answers) == 99)
            assert [ack.mgmt_ack.pong.seq for _, ack in ends.events.answers] == list(range(1, 100))
            assert {addr for addr, _ in ends.events.requests} == {ME.addr}

    run(scenario)


def test_a_later_lane_of_a_node_takes_the_place_of_the_one_that_it_had():
    async def scenario():
        async with Ends() as ends:
            await ends.up()
            (former,) = ends.events.open
            reader, writer = await ends.stranger()
            await opened(reader, writer, hello_of(ME.addr, PEER.addr, ends.server.port))
            await until(lambda: ends.events.lost == [PEER.addr])
            assert former not in ends.events.open
            writer.close()

    run(scenario)


def test_a_lane_on_which_nothing_comes_is_given_up():
    async def scenario():
        async def greet_and_fall_silent(reader, writer):
            await accepted(reader, writer, Events().greeting())
            await reader.read()
            writer.close()

        server = await asyncio.start_server(greet_and_fall_silent, "127.0.0.1", 0)
        async with server, Ends() as ends:
            ends.lane.announced(server.sockets[0].getsockname()[1])
            await until(lambda: ends.lane.up)
            await until(lambda: ends.events.lost)
            assert ends.events.lost == [PEER.addr]

    run(scenario)


def test_in_the_middle_of_a_message_that_would_cost_much_again_a_lane_is_given_longer(monkeypatch):
    monkeypatch.setattr(pipe_module, "KEEPALIVE_S", 0.02)
    monkeypatch.setattr(pipe_module, "SILENCE_S", 0.2)

    async def is_lost(begun):
        peers = []

        async def greet_and_stall(reader, writer):
            peers.append(asyncio.current_task())
            await accepted(reader, writer, Events().greeting())
            writer.write(begun)
            await ended(reader)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

        server = await asyncio.start_server(greet_and_stall, "127.0.0.1", 0)
        async with server:
            async with Ends() as ends:
                ends.lane.announced(server.sockets[0].getsockname()[1])
                await until(lambda: ends.lane.up)
                await asyncio.sleep(0.5)
                lost = bool(ends.events.lost)
            await asyncio.gather(*peers)
        return lost

    async def scenario():
        size = pipe_module.COSTLY_BYTES
        assert not await is_lost(frame(bytes(size))[:-1])
        assert await is_lost(frame(bytes(size - 1))[:-1])

    run(scenario)


def test_a_peer_that_says_that_it_is_there_gets_its_lane_at_once(monkeypatch):
    """However long the next try was put off while it was not."""
    monkeypatch.setattr(lane_module, "RETRY_S", 1000.0)

    async def scenario():
        async with Ends() as ends:
            ends.lane.announced(free_port())
            await until(lambda: not ends.lane._is_there.is_set())
            await asyncio.sleep(0.1)  # nobody listens there
            assert not ends.lane.up
            await ends.up()

    run(scenario)


def test_an_idle_lane_stays(monkeypatch):
    monkeypatch.setattr(pipe_module, "KEEPALIVE_S", 0.02)
    monkeypatch.setattr(pipe_module, "SILENCE_S", 0.5)

    async def scenario():
        async with Ends() as ends:
            await ends.up()
            # Longer than a silent one would live.
            await asyncio.sleep(1.0)
            assert ends.lane.up
            assert not ends.events.lost

    run(scenario)


def test_a_lost_lane_is_told_and_opened_again():
    async def scenario():
        async with Ends() as ends:
            await ends.up()
            next(iter(ends.events.open)).abort()
            await until(lambda: ends.events.lost == [PEER.addr])
            await until(lambda: ends.lane.up)

    run(scenario)


def test_a_lane_that_nobody_reads_ends_instead_of_filling_memory():
    async def scenario():
        async def never_read(reader, writer):
            await accepted(reader, writer, Events().greeting())
            await stop.wait()
            writer.transport.abort()

        stop = asyncio.Event()
        server = await asyncio.start_server(never_read, "127.0.0.1", 0, limit=1)
        async with server, Ends() as ends:
            ends.lane.announced(server.sockets[0].getsockname()[1])
            await until(lambda: ends.lane.up)
            large = pb.CacheRequest(put=pb.Put(value=b"x" * 300_000))
            sent = 0
            while ends.lane.send(large.SerializeToString()):
                sent += 1
                assert sent < 1000, "nothing bounds it"
            assert not ends.lane.up
            stop.set()

    run(scenario)


def test_a_message_larger_than_the_buffer_is_carried_and_the_next_goes_another_way(caplog):
    async def scenario():
        async with Ends() as ends:
            await ends.up()
            large = pb.CacheRequest(put=pb.Put(value=b"x" * (5 << 20)))
            assert ends.lane.send(large.SerializeToString())
            # It is still being written: there is no room for another, and no reason to give the lane up.
            assert not ends.lane.send(large.SerializeToString())
            assert not ends.lane.send(ping(1).SerializeToString())
            await until(lambda: len(ends.events.requests) == 1)
            assert ends.lane.up
            assert ends.lane.send(ping(2).SerializeToString())
            await until(lambda: len(ends.events.answers) == 1)

    run(scenario)
    assert "does not read it" not in caplog.text


def test_a_port_that_is_taken_is_named():
    async def scenario():
        port = free_port()
        taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
        async with taken:
            server = LaneServer(config(lane_port=port), frozenset(), Events())
            with pytest.raises(ConfigurationError, match=rf"port {port} \(CACHE_LANE_PORT\)"):
                server.start("127.0.0.1")

    run(scenario)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_the_announced_port_is_that_of_every_interface(address):
    async def scenario():
        server = LaneServer(config(), frozenset({ME.addr}), Events())
        server.start(None)
        try:
            _, writer = await asyncio.open_connection(address, server.port)
            writer.close()
        finally:
            await server.close()

    run(scenario)


def test_an_append_that_is_being_taken_is_not_written_again_and_what_is_taken_is_seen():
    """The other side reads slowly, as over a slow link: the sender sees how far it is."""

    async def scenario():
        async with Ends(server_config=config(buf_client=100)) as ends:
            ends.lane._config = config(buf_client=100)
            await ends.up()
            (inbound,) = ends.events.open
            inbound._transport.pause_reading()
            encoded = pb.CacheRequest(append=pb.Append(entries=[pb.LogEntry(effects=bytes(15 << 20))]))
            encoded = encoded.SerializeToString()
            lane, place = ends.lane, (1, 7)
            assert lane.send_append(place, encoded)
            written = lane._pipe.written
            assert lane.send_append(place, encoded)
            assert lane._pipe.written == written
            await until(lambda: lane.append_moves() or lane._pipe.taken > 0)
            # What fits into buffers is gone, and nothing more.
            seen = -1
            while seen != lane._pipe.taken:
                seen = lane._pipe.taken
                await asyncio.sleep(0.05)
            lane.append_moves()
            assert not lane.append_moves()
            assert 0 < seen < len(encoded)
            inbound._transport.resume_reading()
            await until(lambda: len(ends.events.requests) == 1)
            await until(lane.append_moves)
            await until(lambda: lane._pipe.taken > len(encoded))
            assert lane.send_append(place, b"again")
            assert lane._pipe.written > written

    run(scenario)


def test_an_append_of_a_lane_that_is_down_takes_another_way():
    async def scenario():
        async with Ends() as ends:
            assert not ends.lane.send_append((1, 7), b"")
            assert not ends.lane.append_moves()

    run(scenario)


def test_what_is_no_port_is_none():
    lane = OutboundLane(config(), ME, PEER, Events(), random.Random(1))
    lane.announced(1 << 16)
    assert not lane._announced.is_set()
    lane.announced((1 << 16) - 1)
    assert lane._announced.is_set()
