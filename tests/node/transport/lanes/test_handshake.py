"""Who gets a lane, and who is kept from one."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from django_hacache.consensus.config import digest_of
from django_hacache.link.framing import frame
from django_hacache.node.transport.authentication import proof
from django_hacache.node.transport.lanes import arrivals
from django_hacache.node.transport.lanes import outbound as lane_module
from django_hacache.node.transport.lanes import pipe as pipe_module
from django_hacache.node.transport.lanes import server as acceptor_module
from django_hacache.node.transport.lanes.server import HELLO_BYTES
from django_hacache.wire import cache_pb2 as pb
from tests.node.lanes import Frames, hello_of, opened
from tests.node.transport.lanes.ends import ME, PEER, THIRD, Ends, Events, config, ended, ping, run, until
from tests.node_process import TOKEN


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
