"""Wrong tokens are counted, and who tries many waits."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from django_hacache.node.transport.authentication import credentials, guesses
from django_hacache.node.transport.authentication.guesses import BURST, PER_S, Guesses
from django_hacache.node.transport.streams.listening import start_server
from django_hacache.node.transport.streams.server import StreamServer
from tests.node.streams import METHOD
from tests.node.transport.lanes.test_lane import Ends, run
from tests.node.transport.streams.test_server import EagerEvents, config_of
from tests.node_process import TOKEN, free_port


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def barred_after(tries, known, address="10.0.0.1"):
    for _ in range(tries):
        known.wrong(address)
    return known.barred(address)


def test_a_few_wrong_ones_bar_nobody_and_many_bar_their_own_address(clock):
    known = Guesses(clock)
    assert not barred_after(BURST, known)
    assert barred_after(1, known)
    assert not known.barred("10.0.0.2")


def test_who_was_barred_may_try_again_after_a_while(clock):
    known = Guesses(clock)
    assert barred_after(BURST + 1, known)
    clock.now += 1 / PER_S
    assert not known.barred("10.0.0.1")
    assert barred_after(1, known)


def test_the_host_of_a_node_is_never_barred(clock):
    known = Guesses(clock)
    known.right("ipv4:10.0.0.1")
    assert not barred_after(10 * BURST, known)
    assert known.count == 10 * BURST


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("10.0.0.1", "ipv4:10.0.0.1"),
        ("10.0.0.1", "::ffff:10.0.0.1"),
        ("2001:db8::1", "ipv6:[2001:db8::2]"),
        ("fe80::1%eth0", "fe80::2"),
    ],
)
def test_one_host_has_one_address_however_it_is_told(one, same, clock):
    known = Guesses(clock)
    barred_after(BURST + 1, known, one)
    assert known.barred(same)


def test_what_is_known_of_addresses_is_bounded(clock, monkeypatch):
    monkeypatch.setattr(guesses, "ADDRESSES_MAX", 10)
    known = Guesses(clock)
    for number in range(100):
        known.wrong(f"10.0.0.{number}")
        known.right(f"10.0.1.{number}")
    assert len(known._paid_until) == len(known._members) == 10


def test_the_right_token_from_a_barred_address_is_not_looked_at_on_a_stream(monkeypatch, caplog):
    monkeypatch.setattr(guesses, "BURST", 2)
    monkeypatch.setattr(guesses, "PER_S", 0.001)
    port = free_port()
    config = config_of(port)

    async def knock():
        stream_server = StreamServer(config, frozenset(), EagerEvents(), max_request_bytes=1 << 20)
        server = await start_server(config, stream_server)
        codes = []
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                for token in (*["wrong"] * 3, TOKEN):
                    call = channel.stream_stream(METHOD)(metadata=credentials.metadata(token, "")[:1])
                    codes.append((await asyncio.wait_for(call.code(), 20)).name)
        finally:
            await server.stop(None)
        return codes, stream_server._guesses.count

    codes, count = asyncio.run(knock())
    assert codes == [*["UNAUTHENTICATED"] * 3, "RESOURCE_EXHAUSTED"]
    assert count == 4
    assert TOKEN not in caplog.text


def test_a_lane_is_refused_to_a_barred_address(monkeypatch):
    monkeypatch.setattr(guesses, "BURST", 2)
    monkeypatch.setattr(guesses, "PER_S", 0.001)

    async def scenario():
        async with Ends() as ends:
            for _ in range(3):
                assert "token is wrong" in (await ends.open("wrong" * 8)).error.error
            assert "too many wrong tokens" in (await ends.open()).error.error

    run(scenario)
