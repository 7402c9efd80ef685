"""Clients that ask faster than they are answered, and clients that do not read."""

from __future__ import annotations

import asyncio
import contextlib

import grpc
import pytest

from django_hacache.conf import ClusterConfig, Host
from django_hacache.node.transport.streams import budget
from django_hacache.node.transport.streams import server as service_module
from django_hacache.node.transport.streams import unread as unread_module
from django_hacache.node.transport.streams.inbound import InboundStream
from django_hacache.node.transport.streams.listening import start_server
from django_hacache.node.transport.streams.server import StreamServer
from django_hacache.wire import cache_pb2 as pb
from tests.node.streams import METADATA, METHOD
from tests.node_process import TOKEN, free_port

AT_ONCE = 4
LARGEST = 1 << 20
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


def with_service(scenario, node=None):
    """Run `scenario(node, call)` against a real server that lets a client have AT_ONCE unanswered requests."""

    node = node or Slow()

    async def run():
        host = Host("http", "127.0.0.1", free_port())
        config = ClusterConfig(True, (host,), host.addr, TOKEN, None, AT_ONCE, 64, 5, 5, 250, 1000, 2)
        node.addr = host.addr
        stream_server = node.stream_server = StreamServer(
            config, frozenset(), node, max_request_bytes=LARGEST
        )
        server = await start_server(config, stream_server)
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


class Prompt(Slow):
    """A node that answers at once, with something large."""

    def stream_request(self, stream, request):
        self.asked.append(stream)
        stream.reply(pb.Ack(get_ack=pb.GetAck(entry=str(len(self.asked)), value=bytes(LARGEST - 100))))


def test_a_client_that_asks_for_more_than_it_reads_is_answered_as_it_reads_and_in_order():
    async def scenario(node, call):
        sending = asyncio.ensure_future(_send(call, 30))
        await until(lambda: node.stream_server.unread._waiting)
        assert len(node.asked) < 20
        assert node.stream_server.unread.bytes <= 2 * LARGEST
        for number in range(1, 31):
            ack = pb.Ack.FromString(await call.read())
            assert ack.get_ack.entry == str(number)
            assert len(node.asked) < number + 20
        await sending
        await until(lambda: not node.stream_server.unread.bytes)

    with_service(scenario, Prompt())


def test_what_all_clients_leave_unread_is_bounded_and_those_who_do_not_read_give_way_to_the_others(
    monkeypatch, caplog
):
    monkeypatch.setattr(unread_module, "LOOK_S", 0.01)
    monkeypatch.setattr(service_module, "LAST_WRITE_S", 0.05)

    async def scenario(node, call):
        unread = node.stream_server.unread
        unread._patience_s = 600
        # A connection each, which takes as much unread now as later.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0)]
        async with contextlib.AsyncExitStack() as stack:
            deaf = []
            while unread.bytes < unread.limit:
                assert len(deaf) < 30
                channel = await stack.enter_async_context(grpc.aio.insecure_channel(node.addr, options))
                deaf.append(channel.stream_stream(METHOD)(metadata=METADATA))
                await deaf[-1].read()
                await _send(deaf[-1], 20)
                # Enough that some must wait, however much the transport takes.
                await until(lambda: len(unread._waiting) == len(deaf))
            assert unread.bytes < unread.limit + LARGEST
            asked = len(node.asked)
            await call.write(REQUEST)
            await until(lambda: len(unread._waiting) > len(deaf))
            assert len(node.asked) == asked
            unread._patience_s = 0
            # It has room now, for the connections of the others have ended: what was written to them is gone, too.
            assert len(pb.Ack.FromString(await call.read()).get_ack.value) == LARGEST - 100
            await until(lambda: node.open == len(node.stream_server._clients) == 1)
            await until(lambda: not unread.bytes)
            with pytest.raises(grpc.aio.AioRpcError):
                while await deaf[0].read() is not grpc.aio.EOF:
                    pass

    with_service(scenario, Prompt())
    assert ["does not read" in message for message in caplog.messages] == [True]


def test_a_client_that_is_refused_and_never_reads_why_is_hung_up_on(monkeypatch):
    monkeypatch.setattr(service_module, "LAST_WRITE_S", 0.05)

    async def scenario(node, call):
        unread = node.stream_server.unread
        sending = asyncio.ensure_future(_send(call, 30))
        await until(lambda: unread._waiting)
        node.asked[0].replaced.set()
        await until(lambda: not unread.bytes and not len(node.stream_server._clients))
        sending.cancel()

    with_service(scenario, Prompt())


def test_what_a_client_is_answered_counts_in_what_its_host_may_have(monkeypatch):
    monkeypatch.setattr(budget, "REQUEST_BYTES", 100)
    spent = budget.Budget(lambda: 1000.0)
    stream = InboundStream("", limit=1 << 30, unanswered=2, budget=spent)
    assert spent.spend(0) == 0
    stream.reply(pb.Ack(get_ack=pb.GetAck(value=bytes(2 * budget.REQUESTS_PER_S * 100))))
    assert spent.spend(0) > 0.9


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
