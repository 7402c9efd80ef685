"""The lane between two nodes: who gets one, what it carries, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
from dataclasses import replace

import pytest

from django_hacache.conf import TLS, ClusterConfig, Host
from django_hacache.consensus.config import digest_of
from django_hacache.exceptions import ConfigurationError
from django_hacache.link.framing import FrameReader, frame
from django_hacache.node import lane as lane_module
from django_hacache.node.credentials import EXTENSION_VERSION
from django_hacache.node.lane import HELLO_BYTES, Lane, LaneServer
from django_hacache.wire import cache_pb2 as pb
from tests.node_process import TOKEN, free_port

ME, PEER = Host("http", "127.0.0.1", 1), Host("http", "127.0.0.1", 2)


def config(token=TOKEN, lane_port=0, buf_client=1):
    return ClusterConfig(
        ha_mode=True,
        hosts=(ME, PEER),
        hostname=ME.addr,
        auth_token=token,
        tls=None,
        buf_server=8,
        buf_client=buf_client,
        keepalive_interval_s=5,
        keepalive_timeout_s=5,
        reconnect_lower_ms=250,
        reconnect_upper_ms=1000,
        election_timeout_s=2,
        lane_port=lane_port,
    )


class Events:
    """Both ends' runtime: answers a ping with a pong, and notes the rest."""

    def __init__(self, addr=PEER.addr):
        self._addr = addr
        self.open = set()
        self.requests = []
        self.answers = []
        self.lost = []

    def greeting(self):
        return pb.Ack(
            mgmt_ack=pb.MgmtAck(
                leader_info=pb.LeaderInfo(node_addr=self._addr, extension_version=EXTENSION_VERSION)
            )
        )

    def lane_opened(self, lane):
        self.open.add(lane)

    def lane_closed(self, lane):
        self.open.discard(lane)

    def lane_request(self, lane, request):
        self.requests.append((lane.addr, request))
        if request.mgmt_req.WhichOneof("method") == "ping":
            lane.send(pb.Ack(mgmt_ack=pb.MgmtAck(pong=pb.Pong(seq=request.mgmt_req.ping.seq))))

    def lane_lost(self, addr):
        self.lost.append(addr)

    def peer_answered(self, addr, ack):
        self.answers.append((addr, ack))


def ping(seq):
    return pb.CacheRequest(mgmt_req=pb.MgmtRequest(ping=pb.Ping(seq=seq)))


async def until(condition, seconds=10):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0.01)


class Ends:
    """A server on the peer and a lane to it."""

    def __init__(self, *, token=TOKEN, addr=PEER.addr, server_config=None):
        self.events = Events(addr)
        self.server = LaneServer(server_config or config(), frozenset({ME.addr}), self.events)
        self.lane = Lane(config(token), ME, PEER, self.events, random.Random(1))

    async def __aenter__(self):
        await self.server.start("127.0.0.1")
        self.lane.start()
        return self

    async def __aexit__(self, *exc):
        await self.lane.close()
        await self.server.close()

    async def up(self):
        self.lane.announced(self.server.port)
        await until(lambda: self.lane.up)

    async def stranger(self):
        return await asyncio.open_connection("127.0.0.1", self.server.port)


def run(scenario):
    asyncio.run(scenario())


async def ended(reader):
    """What comes before the end of the connection."""
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionResetError:
        return b""


def test_it_opens_when_the_port_is_known_and_carries_both_ways():
    async def scenario():
        async with Ends() as ends:
            assert not ends.lane.send(ping(0))
            await ends.up()
            for seq in range(1, 100):
                assert ends.lane.send(ping(seq))
            await until(lambda: len(ends.events.answers) == 99)
            assert [ack.mgmt_ack.pong.seq for _, ack in ends.events.answers] == list(range(1, 100))
            assert {addr for addr, _ in ends.events.requests} == {ME.addr}

    run(scenario)


def test_a_wrong_token_gets_no_lane_and_is_told(caplog):
    async def scenario():
        async with Ends(token="wrong" * 8) as ends:
            ends.lane.announced(ends.server.port)
            await until(lambda: "token is missing or wrong" in caplog.text and "no lane to" in caplog.text)
            assert not ends.lane.up
            assert not ends.events.open
            assert TOKEN not in caplog.text

    run(scenario)


def test_a_node_that_is_not_of_the_cluster_gets_no_lane(caplog):
    async def scenario():
        async with Ends() as ends:
            reader, writer = await ends.stranger()
            writer.write(frame(pb.LaneHello(token=TOKEN, addr="10.9.9.9:1").SerializeToString()))
            answer = await ended(reader)
            (payload,) = [each for each in FrameReader(1 << 20).feed(answer) if each]
            assert "not among the HA_HOSTS" in pb.Ack.FromString(payload).error.error
            assert not ends.events.open
            writer.close()

    run(scenario)


def test_a_node_with_another_list_of_hosts_gets_no_lane():
    async def scenario():
        async with Ends() as ends:
            reader, writer = await ends.stranger()
            hosts = digest_of([ME.addr, "127.0.0.1:9"])
            hello = pb.LaneHello(token=TOKEN, addr=ME.addr, hosts=hosts, version=EXTENSION_VERSION)
            writer.write(frame(hello.SerializeToString()))
            (payload,) = [each for each in FrameReader(1 << 20).feed(await ended(reader)) if each]
            assert "another HA_HOSTS" in pb.Ack.FromString(payload).error.error
            assert not ends.events.open
            writer.close()

    run(scenario)


def test_a_node_of_another_version_gets_no_lane():
    async def scenario():
        async with Ends() as ends:
            reader, writer = await ends.stranger()
            # The first version did not say what it is.
            writer.write(frame(pb.LaneHello(token=TOKEN, addr=ME.addr).SerializeToString()))
            (payload,) = [each for each in FrameReader(1 << 20).feed(await ended(reader)) if each]
            assert "another release" in pb.Ack.FromString(payload).error.error
            assert not ends.events.open
            writer.close()

    run(scenario)


def test_another_node_at_the_peer_s_address_is_not_taken_for_it(caplog):
    async def scenario():
        async with Ends(addr="127.0.0.1:3") as ends:
            ends.lane.announced(ends.server.port)
            await until(lambda: "another node answers there" in caplog.text)
            assert not ends.lane.up

    run(scenario)


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 64,
        frame(b"\xff" * 100),
        frame(b"x" * (HELLO_BYTES + 1)),
        # A request before the hello is none.
        frame(ping(1).SerializeToString()),
        frame(pb.CacheRequest(clear=pb.Clear(cache_name="default")).SerializeToString()),
    ],
    ids=["http", "noise", "no message", "large", "ping", "clear"],
)
def test_who_does_not_say_who_it_is_is_cut_off(said):
    async def scenario():
        async with Ends() as ends:
            reader, writer = await ends.stranger()
            writer.write(said)
            await ended(reader)
            assert not ends.events.requests
            writer.close()
            # The lane of the peer is not touched by that.
            await ends.up()

    run(scenario)


def test_bytes_that_are_no_message_end_an_open_lane_and_no_other():
    async def scenario():
        async with Ends() as ends:
            await ends.up()
            reader, writer = await ends.stranger()
            writer.write(
                frame(pb.LaneHello(token=TOKEN, addr=ME.addr, version=EXTENSION_VERSION).SerializeToString())
            )
            await until(lambda: len(ends.events.open) == 2)
            writer.write(frame(b"\xff" * 10))
            await ended(reader)
            await until(lambda: len(ends.events.open) == 1)
            assert ends.lane.up
            writer.close()

    run(scenario)


def test_strangers_that_say_nothing_are_few_and_do_not_stay(monkeypatch):
    monkeypatch.setattr(lane_module, "HELLO_S", 0.3)
    monkeypatch.setattr(lane_module, "STRANGERS_MAX", 3)

    async def scenario():
        async with Ends() as ends:
            strangers = [await ends.stranger() for _ in range(5)]
            for reader, _ in strangers:
                await ended(reader)
            for _, writer in strangers:
                writer.close()
            await ends.up()

    run(scenario)


def test_a_lane_on_which_nothing_comes_is_given_up():
    async def scenario():
        async def greet_and_fall_silent(reader, writer):
            writer.write(frame(Events().greeting().SerializeToString()))
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
    monkeypatch.setattr(lane_module, "KEEPALIVE_S", 0.02)
    monkeypatch.setattr(lane_module, "SILENCE_S", 0.2)

    async def is_lost(begun):
        peers = []

        async def greet_and_stall(reader, writer):
            peers.append(asyncio.current_task())
            writer.write(frame(Events().greeting().SerializeToString()) + begun)
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
        size = lane_module.COSTLY_BYTES
        assert not await is_lost(frame(bytes(size))[:-1])
        assert await is_lost(frame(bytes(size - 1))[:-1])

    run(scenario)


def test_a_peer_that_says_that_it_is_there_gets_its_lane_at_once(monkeypatch):
    """However long the next try was put off while it was not."""
    monkeypatch.setattr(lane_module, "KEEPALIVE_S", 1000.0)

    async def scenario():
        async with Ends() as ends:
            ends.lane.announced(free_port())
            await until(lambda: not ends.lane._is_there.is_set())
            await asyncio.sleep(0.1)  # nobody listens there
            assert not ends.lane.up
            await ends.up()

    run(scenario)


def test_an_idle_lane_stays(monkeypatch):
    monkeypatch.setattr(lane_module, "KEEPALIVE_S", 0.02)
    monkeypatch.setattr(lane_module, "SILENCE_S", 0.5)

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
            writer.write(frame(Events().greeting().SerializeToString()))
            await stop.wait()
            writer.transport.abort()

        stop = asyncio.Event()
        server = await asyncio.start_server(never_read, "127.0.0.1", 0, limit=1)
        async with server, Ends() as ends:
            ends.lane.announced(server.sockets[0].getsockname()[1])
            await until(lambda: ends.lane.up)
            large = pb.CacheRequest(put=pb.Put(value=b"x" * 300_000))
            sent = 0
            while ends.lane.send(large):
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
            assert ends.lane.send(large)
            # It is still being written: there is no room for another, and no reason to give the lane up.
            assert not ends.lane.send(large)
            assert not ends.lane.send(ping(1))
            await until(lambda: len(ends.events.requests) == 1)
            assert ends.lane.up
            assert ends.lane.send(ping(2))
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
                await server.start("127.0.0.1")

    run(scenario)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_the_announced_port_is_that_of_every_interface(address):
    async def scenario():
        server = LaneServer(config(), frozenset({ME.addr}), Events())
        await server.start(None)
        try:
            _, writer = await asyncio.open_connection(address, server.port)
            writer.close()
        finally:
            await server.close()

    run(scenario)


def complaints(caplog, about):
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno > logging.DEBUG and about in record.getMessage()
    ]


def test_strangers_that_knock_all_night_are_told_of_once(caplog):
    caplog.set_level(logging.INFO)

    async def scenario():
        async with Ends() as ends:
            hellos = [pb.LaneHello(token=TOKEN, addr=f"10.9.9.{number}:1") for number in range(5)]
            hellos += [pb.LaneHello(token="wrong" * 8, addr=ME.addr)] * 5
            said = [frame(hello.SerializeToString()) for hello in hellos]
            for each in [*said, *[frame(b"x" * (HELLO_BYTES + size)) for size in range(1, 6)]]:
                reader, writer = await ends.stranger()
                writer.write(each)
                await ended(reader)
                writer.close()

    run(scenario)
    assert complaints(caplog, "a lane ") == [
        "a lane was refused to '10.9.9.0:1': its address is not among the HA_HOSTS of this node",
        f"a lane was refused to {ME.addr!r}: the token is missing or wrong",
        f"a lane ended: its bytes are no message (a stranger): a frame of {HELLO_BYTES + 1} bytes",
    ]


def test_a_peer_that_refuses_the_lane_again_and_again_is_told_of_once(caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(lane_module, "KEEPALIVE_S", 0.01)

    async def scenario():
        async with Ends(token="wrong" * 8) as ends:
            ends.lane.announced(ends.server.port)
            await until(lambda: caplog.text.count("no lane to") >= 3)

    run(scenario)
    assert complaints(caplog, "no lane to") == [f"no lane to {PEER.addr}: the token is missing or wrong"]


def test_a_lane_that_falls_silent_again_and_again_is_told_of_once(caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(lane_module, "KEEPALIVE_S", 0.01)
    monkeypatch.setattr(lane_module, "SILENCE_S", 0.05)

    async def scenario():
        async def greet_and_fall_silent(reader, writer):
            writer.write(frame(Events().greeting().SerializeToString()))
            await reader.read()
            writer.close()

        server = await asyncio.start_server(greet_and_fall_silent, "127.0.0.1", 0)
        async with server, Ends() as ends:
            ends.lane.announced(server.sockets[0].getsockname()[1])
            await until(lambda: len(ends.events.lost) >= 3)

    run(scenario)
    assert len(complaints(caplog, "nothing came from")) == 1


def test_a_lane_outlives_a_tls_file_that_cannot_be_read(caplog, monkeypatch, tmp_path):
    missing = tmp_path / "ca.pem"
    tls = TLS(missing, missing, None, None, missing, None, "redhac.local", "redhac.local")

    async def scenario():
        async with Ends() as ends:
            ends.lane._config = replace(config(), tls=tls)
            ends.lane.announced(ends.server.port)
            await until(lambda: str(missing) in caplog.text)
            ends.lane._config = config()
            await until(lambda: ends.lane.up)

    run(scenario)


def test_an_append_that_is_being_taken_is_not_written_again_and_what_is_taken_is_seen():
    """The other side reads slowly, as over a slow link: the sender sees how far it is."""

    async def scenario():
        async with Ends(server_config=config(buf_client=100)) as ends:
            ends.lane._config = config(buf_client=100)
            await ends.up()
            (inbound,) = ends.events.open
            inbound._transport.pause_reading()
            encoded = pb.CacheRequest(append=pb.Append(entries=[pb.LogEntry(effects=bytes(30 << 20))]))
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
