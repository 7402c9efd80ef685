"""A leader's transfers: their flow control, and how they end."""

from __future__ import annotations

import asyncio
import time

import pytest

from django_hacache.node.outbox import Outbox
from django_hacache.node.snapshots import CHUNK_BYTES, SnapshotSender
from django_hacache.replica.clock import NEVER
from django_hacache.wire import cache_pb2 as pb

VALUES = 12
PEER = "127.0.0.1:2"


@pytest.fixture
def filled(replica):
    """A replica in which each value is larger than a chunk need be."""
    with replica.write() as transaction:
        for number in range(VALUES):
            transaction.set("c", str(number), bytes(2 * CHUNK_BYTES), version=number + 1, expires_at=NEVER)
    return replica


def sender_of(replica, send):
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    sender = SnapshotSender(
        replica,
        send,
        lambda _peer, index: None if ended.done() else ended.set_result(index),
        lambda _index: [],
    )
    return sender, ended


def test_values_that_fill_the_queue_of_the_stream_are_waited_for(filled):
    async def scenario():
        # Room for one chunk, and for what is being written.
        outbox = Outbox(pb.CacheRequest, limit=2 * CHUNK_BYTES, bundles=True)
        sender, ended = sender_of(filled, lambda _peer, request: outbox.put(request))
        sender.start(PEER, 1)
        received = 0
        while not ended.done():
            request = await asyncio.wait_for(outbox.get(), 5)
            chunk = request.snapshot_chunk
            received += len(chunk.items)
            sender.on_ack(PEER, pb.SnapshotAck(transfer=chunk.transfer, number=chunk.number, done=chunk.done))
            for _ in range(5):
                await asyncio.sleep(0)
        assert ended.result() == 0
        assert received == VALUES

    asyncio.run(scenario())


def test_a_transfer_over_a_stream_that_is_down_is_told_in_a_line_and_tried_again_after_a_pause(
    filled, caplog
):
    async def scenario():
        sender, ended = sender_of(filled, lambda _peer, _request: False)
        sender.start(PEER, 1)
        assert await asyncio.wait_for(ended, 5) is None
        await asyncio.sleep(0)

    began = time.monotonic()
    asyncio.run(scenario())
    assert time.monotonic() - began > 0.1
    assert [record.getMessage() for record in caplog.records if record.levelname != "INFO"] == [
        f"the snapshot for {PEER} broke off: the stream is down or full"
    ]
