"""Clients that ask faster than they are answered, and clients that do not read."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from django_hacache.conf import ClusterConfig, Host
from django_hacache.node import budget
from django_hacache.node.service import CLIENT_BYTES, Service, start_server
from django_hacache.wire import cache_pb2 as pb
from tests.node.streams import METADATA, METHOD
from tests.node_process import TOKEN, free_port

AT_ONCE = 4
REQUEST = pb.CacheRequest(get=pb.Get(cache_name="c", entry="a")).SerializeToString()
ANSWER = pb.Ack(get_ack=pb.GetAck(cache_name="c", entry="a"))


class Slow:
    """A node that answers when the test says so."""

    def __init__(self):
        self.addr = ""
        self.asked = []
        self.open = 0
        self.changed = asyncio.Condition()

    def greeting(self):
        return pb.Ack(mgmt_ack=pb.MgmtAck(leader_info=pb.LeaderInfo()))

    def stream_opened(self, stream):
        self.open += 1

    def stream_closed(self, stream):
        self.open -= 1

    def stream_request(self, stream, request):
        self.asked.append(stream)

    def answer(self, count=1, ack=ANSWER):
        for _ in range(count):
            self.asked.pop(0).reply(ack)


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for is in another task or process
            await asyncio.sleep(0.001)


def with_service(scenario):
    """Run `scenario(node, call)` against a real server that lets a client have AT_ONCE unanswered requests."""

    async def run():
        host = Host("http", "127.0.0.1", free_port())
        config = ClusterConfig(True, (host,), host.addr, TOKEN, None, AT_ONCE, 64, 5, 5, 250, 1000, 2)
        node = Slow()
        node.addr = host.addr
        service = Service(config, frozenset(), node, max_request_bytes=1 << 20)
        server = await start_server(config, service)
        options = [("grpc.max_receive_message_length", -1)]
        try:
            async with grpc.aio.insecure_channel(host.addr, options) as channel:
                call = channel.stream_stream(METHOD)(metadata=METADATA)
                await call.read()
                await scenario(node, call)
        finally:
            await server.stop(None)
        await until(lambda: node.open == 0)

    asyncio.run(run())


def test_a_client_with_too_many_unanswered_requests_is_paused_and_goes_on_later():
    async def scenario(node, call):
        sending = asyncio.ensure_future(_send(call, 10))
        await until(lambda: len(node.asked) == AT_ONCE)
        await sending
        assert len(node.asked) == AT_ONCE
        for answered in range(10):
            await until(lambda: node.asked)
            assert len(node.asked) <= AT_ONCE
            node.answer()
            assert pb.Ack.FromString(await call.read()) == ANSWER, answered
        assert node.asked == []

    with_service(scenario)


def test_a_flood_is_read_no_further_on_whichever_stream_it_comes_and_is_told_of_once(caplog, monkeypatch):
    monkeypatch.setattr(budget, "REQUESTS_PER_S", 0.01)
    monkeypatch.setattr(budget, "BURST_S", 20.5 / 0.01)
    pauses = []
    spend = budget.Budget.spend

    def noted(self, size):
        pause_s = spend(self, size)
        if pause_s:
            pauses.append(pause_s)
        return pause_s

    monkeypatch.setattr(budget.Budget, "spend", noted)

    async def scenario(node, call):
        read = 0
        async with grpc.aio.insecure_channel(node.addr) as channel:
            other = channel.stream_stream(METHOD)(metadata=METADATA)
            await other.read()
            sending = [asyncio.ensure_future(_send(one, 30)) for one in (call, other)]
            async with asyncio.timeout(20):
                while len(pauses) < 2:
                    read += len(node.asked)
                    node.answer(len(node.asked))
                    await asyncio.sleep(0)
            for one in sending:
                one.cancel()
        assert read == 20

    with_service(scenario)
    assert ["read more slowly" in message for message in caplog.messages] == [True]


def test_a_client_that_says_no_more_gets_the_answers_that_are_still_to_come():
    async def scenario(node, call):
        await _send(call, 3)
        await call.done_writing()
        await until(lambda: len(node.asked) == 3)
        node.answer(3)
        for _ in range(3):
            assert pb.Ack.FromString(await call.read()) == ANSWER
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK

    with_service(scenario)


def test_a_client_that_does_not_read_its_answers_is_cut_off():
    async def scenario(node, call):
        large = pb.Ack(get_ack=pb.GetAck(value=bytes(4 << 20)))
        taken, streams = 0, []
        await until(lambda: node.open)  # the greeting is sent before
        # What fits: the bound, one message that is being written, and what the transport holds.
        while node.open and taken < 3 * CLIENT_BYTES:
            await call.write(REQUEST)
            await until(lambda: node.asked or not node.open)
            if node.asked:
                streams.append(node.asked[0])
                node.answer(ack=large)
                taken += large.ByteSize()
        assert CLIENT_BYTES / 2 < taken < 2 * CLIENT_BYTES
        # Nothing waits for it any more; when it reads at last, it learns why.
        assert streams[0].outbox.bytes == 0
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            for _ in range(3):
                await call.read()
        assert ended.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    with_service(scenario)


def test_a_client_that_is_cut_off_and_never_reads_may_go_away():
    async def scenario(node, call):
        large = pb.Ack(get_ack=pb.GetAck(value=bytes(CLIENT_BYTES)))
        await _send(call, 3)
        await until(lambda: len(node.asked) == 3)
        node.answer(3, large)
        await until(lambda: node.open == 0)
        call.cancel()

    with_service(scenario)


def test_a_client_that_goes_away_leaves_nothing_behind():
    async def scenario(node, call):
        await _send(call, 10)
        await until(lambda: len(node.asked) == AT_ONCE)
        call.cancel()
        await until(lambda: node.open == 0)
        node.answer(AT_ONCE)

    with_service(scenario)


def test_a_request_that_is_too_large_takes_no_place_for_ever():
    async def scenario(node, call):
        large = pb.CacheRequest(put=pb.Put(value=bytes(2 << 20))).SerializeToString()
        for _ in range(3 * AT_ONCE):
            await call.write(large)
            ack = pb.Ack.FromString(await call.read())
            assert ack.error.code == pb.ERROR_TOO_LARGE
        assert node.asked == []

    with_service(scenario)


async def _send(call, count):
    for _ in range(count):
        await call.write(REQUEST)
