"""What goes wrong on lanes again and again is told of once."""

from __future__ import annotations

import asyncio
import logging

from django_hacache.link.framing import frame
from django_hacache.node.transport.lanes import outbound as lane_module
from django_hacache.node.transport.lanes import pipe as pipe_module
from django_hacache.node.transport.lanes.server import HELLO_BYTES
from tests.node.lanes import accepted
from tests.node.transport.lanes.ends import ME, PEER, Ends, Events, ended, run, until


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
