from __future__ import annotations

import asyncio
import os
import signal

import pytest

from django_hacache.exceptions import CacheUnavailable, LinkError, OutcomeUnknown
from django_hacache.link import asynchronous
from django_hacache.link.asynchronous import AsyncNodeClient
from django_hacache.link.framing import HEADER, frame
from django_hacache.link.server import LinkServer
from django_hacache.wire import cache_pb2 as pb
from tests.link.requests import insert, soon
from tests.link.scripted import ScriptedNode


@pytest.fixture
def run(path):
    """Runs `scenario(client)` in an event loop of its own."""

    def run(scenario):
        async def whole():
            client = AsyncNodeClient(path)
            try:
                return await scenario(client)
            finally:
                client.close()

        return asyncio.run(whole())

    return run


def test_many_requests_in_flight_each_get_their_own_answer(node, run):
    async def scenario(client):
        requests = [insert() for _ in range(200)]
        acks = await asyncio.gather(*(client.request(request, deadline=soon()) for request in requests))
        assert [ack.put_ack.req_id for ack in acks] == [request.insert.req_id for request in requests]

    run(scenario)


def test_answers_may_come_in_another_order(node, run):
    async def scenario(client):
        late = insert("late")
        waiting = asyncio.create_task(client.request(late, deadline=soon()))
        await asyncio.sleep(0)
        prompt = insert()
        assert (await client.request(prompt, deadline=soon())).put_ack.req_id == prompt.insert.req_id
        assert (await waiting).put_ack.req_id == late.insert.req_id

    run(scenario)


def test_large_values_of_many_tasks_do_not_mix(node, run):
    async def scenario(client):
        requests = [insert(value=bytes(500_000)) for _ in range(8)]
        acks = await asyncio.gather(*(client.request(request, deadline=soon()) for request in requests))
        assert all(ack.put_ack.mod_res for ack in acks)

    run(scenario)


def test_only_the_request_over_the_nodes_limit_is_refused(node, run):
    async def scenario(client):
        requests = [insert(), insert(value=bytes(2_000_000)), insert(value=bytes(100_000))]
        acks = await asyncio.gather(*(client.request(request, deadline=soon()) for request in requests))
        assert [ack.error.code == pb.ERROR_TOO_LARGE for ack in acks] == [False, True, False]
        assert acks[0].put_ack.mod_res
        assert acks[2].put_ack.mod_res

    run(scenario)


def test_a_request_that_timed_out_does_not_disturb_the_others(connections, node, run, monkeypatch):
    async def scenario(client):
        with pytest.raises(OutcomeUnknown):
            await client.request(insert("late"), deadline=soon(0.05))
        connection = connections()
        request = insert()
        assert (await client.request(request, deadline=soon())).put_ack.req_id == request.insert.req_id
        assert len(connection) == 1
        # The node sent the late answer before this one.
        await client.request(insert(), deadline=soon())
        # So nothing is in flight, and there is room for one.
        monkeypatch.setattr(asynchronous, "IN_FLIGHT_MAX", 1)
        await client.request(insert(), deadline=soon())
        assert connections() == connection

    run(scenario)


def test_a_restarted_node_is_reached_without_an_error(node, start_node, run):
    async def scenario(client):
        await client.request(insert(), deadline=soon())
        node.kill()
        node.wait()
        successor = start_node()
        ack = await client.request(insert(), deadline=soon())
        assert int(ack.put_ack.value) == successor.pid

    run(scenario)


def test_without_a_node_the_change_certainly_did_not_happen(run):
    async def scenario(client):
        with pytest.raises(CacheUnavailable) as failure:
            await client.request(insert(), deadline=soon(0.05))
        assert not isinstance(failure.value, OutcomeUnknown)

    run(scenario)


def test_a_time_limit_that_strikes_before_anything_is_sent_arrives(run, monkeypatch):
    limit = TimeoutError("of the caller")

    def struck():
        raise limit

    async def scenario(client):
        deadline = soon()
        monkeypatch.setattr(asynchronous, "monotonic", struck)
        with pytest.raises(TimeoutError) as failure:
            await client.request(insert(), deadline=deadline)
        assert failure.value is limit

    run(scenario)


def test_a_frozen_node_leaves_the_outcome_unknown_and_is_used_again_when_it_thaws(node, run):
    async def scenario(client):
        await client.request(insert(), deadline=soon())
        os.kill(node.pid, signal.SIGSTOP)
        with pytest.raises(OutcomeUnknown):
            await client.request(insert(), deadline=soon(0.1))
        os.kill(node.pid, signal.SIGCONT)
        assert (await client.request(insert(), deadline=soon())).put_ack.mod_res

    run(scenario)


def test_a_frozen_node_that_takes_no_more_bytes_has_not_seen_the_request(node, run):
    async def scenario(client):
        os.kill(node.pid, signal.SIGSTOP)
        with pytest.raises(CacheUnavailable) as failure:
            await client.request(insert(value=bytes(16_000_000)), deadline=soon(0.2))
        assert not isinstance(failure.value, OutcomeUnknown)
        os.kill(node.pid, signal.SIGCONT)
        assert (await client.request(insert(), deadline=soon())).put_ack.mod_res

    run(scenario)


def test_a_node_that_stops_answers_what_it_has_while_others_learn_that_nobody_takes_theirs(path, run):
    async def scenario(client):
        replies = []
        server = LinkServer(path, lambda _, reply: replies.append(reply), max_request_bytes=1000)
        await server.start()
        request = insert()
        first = asyncio.create_task(client.request(request, deadline=soon()))
        while not replies:  # noqa: ASYNC110 - a handler is no coroutine
            await asyncio.sleep(0)
        closing = asyncio.create_task(server.close(patience_s=3600))
        for _ in range(10):
            await asyncio.sleep(0)  # now its end of the connection is shut
        with pytest.raises(CacheUnavailable) as failure:
            await client.request(insert(), deadline=soon(0.05))
        assert not isinstance(failure.value, OutcomeUnknown)
        replies.pop()(pb.Ack(put_ack=pb.PutAck(req_id=request.insert.req_id)))
        assert (await first).put_ack.req_id == request.insert.req_id
        await closing

    run(scenario)


def test_a_cancelled_task_leaves_the_connection_usable(node, run):
    async def scenario(client):
        task = asyncio.create_task(client.request(insert("never"), deadline=soon()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await client.request(insert(), deadline=soon())).put_ack.mod_res

    run(scenario)


def test_a_request_without_req_id_could_not_be_matched(node, run):
    async def scenario(client):
        with pytest.raises(LinkError, match="needs a req_id"):
            await client.request(pb.CacheRequest(status=pb.Status()), deadline=soon())

    run(scenario)


def test_the_connection_of_a_loop_that_has_ended_can_be_abandoned(node, path):
    client = AsyncNodeClient(path)
    asyncio.run(client.request(insert(), deadline=soon()))
    client.abandon()
    asyncio.run(client.request(insert(), deadline=soon()))
    client.abandon()


def test_a_node_that_hangs_up_in_the_middle_of_a_large_request_is_asked_again(path, run):
    hung_up = []

    async def scenario(client):
        async def hang_up_once(reader, writer):
            if not hung_up:
                hung_up.append(await reader.read(1))
            else:
                (length,) = HEADER.unpack(await reader.readexactly(HEADER.size))
                request = pb.CacheRequest.FromString(await reader.readexactly(length))
                writer.write(
                    frame(pb.Ack(put_ack=pb.PutAck(req_id=request.insert.req_id)).SerializeToString())
                )
                await reader.read()
            writer.close()

        server = await asyncio.start_unix_server(hang_up_once, path, limit=8_000_000)
        request = insert(value=bytes(5_000_000))
        ack = await client.request(request, deadline=soon())
        assert ack.put_ack.req_id == request.insert.req_id
        client.close()
        server.close()
        while any(task is not asyncio.current_task() for task in asyncio.all_tasks()):  # noqa: ASYNC110 - the server's tasks have no event to wait for
            await asyncio.sleep(0.01)

    run(scenario)
    assert hung_up


def test_a_refusal_of_what_was_sent_before_says_that_the_outcome_is_unknown(path, run):
    """A node that was killed may have sent the change on; the one that comes after it knows nothing of that."""
    request = insert()
    refusal = pb.Ack(
        error=pb.Error(error="it did not happen", req_id=request.insert.req_id, code=pb.ERROR_NO_QUORUM)
    )

    async def scenario(client):
        with pytest.raises(OutcomeUnknown):
            await client.request(request, deadline=soon())

    with ScriptedNode(path, [b"", refusal.SerializeToString()]) as node:
        run(scenario)
    assert [seen.since_index for seen in node.seen] == [0, 1]
