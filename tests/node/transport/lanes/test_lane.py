"""The lane between two nodes: who gets one, what it carries, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
from dataclasses import replace

import pytest

from django_hacache.conf import ClusterConfig, Host
from django_hacache.consensus.config import digest_of
from django_hacache.exceptions import ConfigurationError
from django_hacache.link.framing import frame
from django_hacache.node.transport.authentication import proof
from django_hacache.node.transport.authentication.credentials import EXTENSION_VERSION
from django_hacache.node.transport.lanes import arrivals
from django_hacache.node.transport.lanes import outbound as lane_module
from django_hacache.node.transport.lanes import pipe as pipe_module
from django_hacache.node.transport.lanes import server as acceptor_module
from django_hacache.node.transport.lanes.outbound import OutboundLane
from django_hacache.node.transport.lanes.server import HELLO_BYTES, LaneServer
from django_hacache.wire import cache_pb2 as pb
from tests.node.lanes import Frames, accepted, hello_of, opened
from tests.node_process import TOKEN, free_port

ME, PEER = Host("http", "127.0.0.1", 1), Host("http", "127.0.0.1", 2)
THIRD = "127.0.0.1:3"


def config(token=TOKEN, lane_port=0, buf_client=1, me=PEER):
    return ClusterConfig(
        ha_mode=True,
        hosts=(ME, PEER),
        hostname=me.addr,
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
        self.server = LaneServer(server_config or config(), frozenset({ME.addr, THIRD}), self.events)
        self.lane = OutboundLane(config(token), ME, PEER, self.events, random.Random(1))

    async def __aenter__(self):
        self.server.start("127.0.0.1")
        self.lane.start()
        return self

    async def __aexit__(self, *exc):
        await self.lane.close()
        await self.server.close()

    async def up(self):
        self.lane.announced(self.server.port)
        await until(lambda: self.lane.up)

    async def open(self, token=TOKEN, **changed):
        """What the server says in the end to who begins a lane otherwise than the peer does."""
        reader, writer = await self.stranger()
        hello = hello_of(ME.addr, PEER.addr, self.server.port, **changed)
        answer = await opened(reader, writer, hello, token)
        writer.close()
        return answer

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
            assert not ends.lane.send(ping(0).SerializeToString())
            await ends.up()
            for seq in range(1, 100):
                assert ends.lane.send(ping(seq).SerializeToString())
            await until(lambda: len(ends.events.answers) == 99)
            assert [ack.mgmt_ack.pong.seq for _, ack in ends.events.answers] == list(range(1, 100))
            assert {addr for addr, _ in ends.events.requests} == {ME.addr}

    run(scenario)


def test_a_wrong_token_gets_no_lane_and_is_told(caplog):
    async def scenario():
        async with Ends(token="wrong" * 8) as ends:
            ends.lane.announced(ends.server.port)
            await until(lambda: "token is wrong" in caplog.text and "no lane to" in caplog.text)
            assert not ends.lane.up
            assert not ends.events.open
            assert TOKEN not in caplog.text

    run(scenario)


def test_the_token_never_travels(monkeypatch):
    said = []
    monkeypatch.setattr(pipe_module, "frame", lambda payload: said.append(payload) or frame(payload))

    async def scenario():
        async with Ends() as ends:
            await ends.up()

    run(scenario)
    assert any(ME.addr.encode() in payload for payload in said)
    assert not any(TOKEN.encode() in payload for payload in said)


def test_who_repeats_what_a_peer_said_gets_no_lane():
    async def scenario():
        async with Ends() as ends:
            said = hello_of(ME.addr, PEER.addr, ends.server.port).SerializeToString()
            proofs = []
            for _ in range(2):
                reader, writer = await ends.stranger()
                frames = Frames(reader)
                writer.write(frame(said))
                challenge = pb.Ack.FromString(await frames.next()).lane_challenge.nonce
                proofs.append(proof.proof(TOKEN, proof.OPENER, said, challenge))
                writer.write(frame(pb.LaneProof(proof=proofs[0]).SerializeToString()))
                answer = pb.Ack.FromString(await frames.next())
                writer.close()
            assert "token is wrong" in answer.error.error
            assert len(ends.events.open) <= 1

    run(scenario)


@pytest.mark.parametrize("role", [proof.ACCEPTOR, b""])
def test_what_an_acceptor_says_is_no_proof_of_an_opener(role):
    """Who holds a lane open to a node cannot let that node answer for him."""

    async def scenario():
        async with Ends() as ends:
            said = hello_of(ME.addr, PEER.addr, ends.server.port).SerializeToString()
            reader, writer = await ends.stranger()
            frames = Frames(reader)
            writer.write(frame(said))
            challenge = pb.Ack.FromString(await frames.next()).lane_challenge.nonce
            writer.write(
                frame(pb.LaneProof(proof=proof.proof(TOKEN, role, said, challenge)).SerializeToString())
            )
            assert "token is wrong" in pb.Ack.FromString(await frames.next()).error.error
            writer.close()

    run(scenario)


@pytest.mark.parametrize("meant", [{"peer": THIRD}, {"port": 1}], ids=["another node", "another port"])
def test_what_is_meant_for_another_node_or_another_port_opens_no_lane(meant):
    """So who listens where a node was before cannot pass on to where it is now what its peers say."""

    async def scenario():
        async with Ends() as ends:
            answer = await ends.open(**meant)
            assert "means another node" in answer.error.error
            assert not ends.events.open

    run(scenario)


@pytest.mark.parametrize("said", ["wrong", "", "reflected"])
def test_who_does_not_have_the_token_is_not_taken_for_the_peer(said, caplog):
    async def scenario():
        met = []

        async def impostor(reader, writer):
            frames = Frames(reader)
            hello = await frames.next()
            writer.write(frame(pb.Ack(lane_challenge=pb.LaneChallenge(nonce=b"c")).SerializeToString()))
            theirs = pb.LaneProof.FromString(await frames.next()).proof
            greeting = Events().greeting()
            wrong = proof.proof("wrong", proof.ACCEPTOR, hello, b"c")
            greeting.lane_proof = {"wrong": wrong, "": b"", "reflected": theirs}[said]
            writer.write(frame(greeting.SerializeToString()))
            met.append(hello)
            await ended(reader)
            writer.close()

        server = await asyncio.start_server(impostor, "127.0.0.1", 0)
        async with server, Ends() as ends:
            ends.lane.announced(server.sockets[0].getsockname()[1])
            await until(lambda: "does not have our token" in caplog.text)
            assert not ends.lane.up
            assert TOKEN.encode() not in met[0]

    run(scenario)


def test_who_is_no_peer_yet_cannot_send_what_is_large(caplog):
    async def scenario():
        async def swamp(reader, writer):
            writer.write(frame(bytes(lane_module.OPENING_BYTES + 1)))
            await ended(reader)
            writer.close()

        server = await asyncio.start_server(swamp, "127.0.0.1", 0)
        async with server, Ends() as ends:
            ends.lane.announced(server.sockets[0].getsockname()[1])
            await until(lambda: f"a frame of {lane_module.OPENING_BYTES + 1} bytes" in caplog.text)

    run(scenario)


def test_the_port_of_a_peer_that_is_gone_is_forgotten(monkeypatch):
    monkeypatch.setattr(lane_module, "RETRY_S", 0.01)

    async def scenario():
        async with Ends() as ends:
            await ends.up()
            ends.lane.announced(0)
            assert ends.lane.up
            port = ends.server.port
            await ends.server.close()
            await until(lambda: ends.events.lost)
            knocks = []
            squatter = await asyncio.start_server(lambda *_: knocks.append(1), "127.0.0.1", port)
            async with squatter:
                await asyncio.sleep(0.2)  # in which it would have tried many times
            assert not knocks

    run(scenario)


def test_the_token_of_clients_opens_no_lane_and_an_earlier_one_of_nodes_does():
    mine, former = "the token of the nodes, and of nobody else", "the token that they had before"

    async def scenario():
        tokens = {"node_token": mine, "node_token_fallbacks": (former,)}
        async with Ends(server_config=replace(config(), **tokens)) as ends:
            assert "token is wrong" in (await ends.open(TOKEN)).error.error
            for token in (mine, former):
                assert (await ends.open(token)).mgmt_ack.leader_info.node_addr == PEER.addr

    run(scenario)


def test_a_node_that_is_not_of_the_cluster_gets_no_lane(caplog):
    async def scenario():
        async with Ends() as ends:
            answer = await ends.open(addr="10.9.9.9:1")
            assert "not among the HA_HOSTS" in answer.error.error
            assert not ends.events.open

    run(scenario)


def test_a_node_with_another_list_of_hosts_gets_no_lane():
    async def scenario():
        async with Ends() as ends:
            answer = await ends.open(hosts=digest_of([ME.addr, "127.0.0.1:9"]))
            assert "another HA_HOSTS" in answer.error.error
            assert not ends.events.open

    run(scenario)


def test_a_node_of_another_version_gets_no_lane():
    async def scenario():
        async with Ends() as ends:
            # The first version did not say what it is.
            answer = await ends.open(version=0)
            assert "another release" in answer.error.error
            assert not ends.events.open

    run(scenario)


def test_another_node_at_the_peer_s_address_is_not_taken_for_it(caplog):
    async def scenario():
        async with Ends(addr=THIRD) as ends:
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
            await opened(reader, writer, hello_of(THIRD, PEER.addr, ends.server.port))
            await until(lambda: len(ends.events.open) == 2)
            writer.write(frame(b"\xff" * 10))
            await ended(reader)
            await until(lambda: len(ends.events.open) == 1)
            assert ends.lane.up
            writer.close()

    run(scenario)


def test_strangers_that_say_nothing_are_few_and_do_not_stay(monkeypatch):
    monkeypatch.setattr(acceptor_module, "HELLO_S", 0.3)
    monkeypatch.setattr(arrivals, "STRANGERS_MAX", 3)

    async def scenario():
        async with Ends() as ends:
            strangers = [await ends.stranger() for _ in range(5)]
            for reader, _ in strangers:
                await ended(reader)
            for _, writer in strangers:
                writer.close()
            await ends.up()

    run(scenario)


def test_strangers_that_hold_every_place_do_not_keep_a_peer_away(monkeypatch):
    monkeypatch.setattr(arrivals, "STRANGERS_MAX", 3)
    monkeypatch.setattr(acceptor_module, "HELLO_S", 1000.0)

    async def scenario():
        async with Ends() as ends:
            strangers = [await ends.stranger() for _ in range(3)]
            await until(lambda: len(ends.server.arrivals._strangers) == 3)
            await ends.up()
            assert len(ends.server.arrivals._strangers) <= 3
            for _, writer in strangers:
                writer.close()

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


def throttle(caplog, about):
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno > logging.DEBUG and about in record.getMessage()
    ]


def test_strangers_that_knock_all_night_are_told_of_once(caplog):
    caplog.set_level(logging.INFO)

    async def scenario():
        async with Ends() as ends:
            for number in range(5):
                await ends.open(addr=f"10.9.9.{number}:1")
            for _ in range(5):
                await ends.open("wrong" * 8)
            for size in range(1, 6):
                reader, writer = await ends.stranger()
                writer.write(frame(b"x" * (HELLO_BYTES + size)))
                await ended(reader)
                writer.close()

    run(scenario)
    assert throttle(caplog, "a lane ") == [
        "a lane was refused to '10.9.9.0:1' at 127.0.0.1: its address is not among the HA_HOSTS of this node",
        f"a lane was refused to {ME.addr!r} at 127.0.0.1: the token is wrong",
        f"a lane ended: a stranger: its bytes are no message: a frame of {HELLO_BYTES + 1} bytes",
    ]


def test_a_peer_that_refuses_the_lane_again_and_again_is_told_of_once(caplog, monkeypatch):
    caplog.set_level(logging.DEBUG, "django_hacache")
    monkeypatch.setattr(lane_module, "RETRY_S", 0.01)

    async def scenario():
        async with Ends(token="wrong" * 8) as ends:
            ends.lane.announced(ends.server.port)
            await until(lambda: caplog.text.count("no lane to") >= 3)

    run(scenario)
    assert throttle(caplog, "no lane to") == [f"no lane to {PEER.addr}: the token is wrong"]


def test_a_lane_that_falls_silent_again_and_again_is_told_of_once(caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(lane_module, "RETRY_S", 0.01)
    monkeypatch.setattr(pipe_module, "KEEPALIVE_S", 0.01)
    monkeypatch.setattr(pipe_module, "SILENCE_S", 0.05)

    async def scenario():
        async def greet_and_fall_silent(reader, writer):
            await accepted(reader, writer, Events().greeting())
            await reader.read()
            writer.close()

        server = await asyncio.start_server(greet_and_fall_silent, "127.0.0.1", 0)
        async with server, Ends() as ends:
            ends.lane.announced(server.sockets[0].getsockname()[1])
            await until(lambda: len(ends.events.lost) >= 3)

    run(scenario)
    assert len(throttle(caplog, "nothing came from")) == 1


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
