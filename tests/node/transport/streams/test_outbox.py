from __future__ import annotations

import asyncio

import pytest

from django_hacache.node.transport.streams.outbox import BUNDLE_BYTES, Outbox
from django_hacache.wire import cache_pb2 as pb


def outbox_of(limit=1 << 30, bundles=True):
    return Outbox(pb.CacheRequest, limit=limit, bundles=bundles)


def request(entry="", size=0):
    return pb.CacheRequest(put=pb.Put(entry=entry, value=bytes(size)))


def heartbeat(seq):
    return pb.CacheRequest(mgmt_req=pb.MgmtRequest(ping=pb.Ping(seq=seq)))


def got(outbox):
    return asyncio.run(asyncio.wait_for(outbox.get(), 10))


def test_what_gathers_leaves_in_one_bundle_in_order():
    outbox = outbox_of()
    for entry in "abc":
        assert outbox.put(request(entry))
    assert [one.put.entry for one in got(outbox).bundle] == ["a", "b", "c"]
    assert outbox.bytes == 0


def test_one_message_alone_is_no_bundle():
    outbox = outbox_of()
    outbox.put(request("a"))
    assert got(outbox) == request("a")


def test_who_knows_no_bundles_gets_one_message_after_the_other():
    outbox = outbox_of(bundles=False)
    for entry in "ab":
        outbox.put(request(entry))
    assert [got(outbox).put.entry, got(outbox).put.entry] == ["a", "b"]


@pytest.mark.parametrize("bundles", [True, False])
def test_heartbeats_leave_first(bundles):
    outbox = outbox_of(bundles=bundles)
    outbox.put(request("a"))
    outbox.put(heartbeat(1), urgent=True)
    first = got(outbox)
    assert (first.bundle[0] if bundles else first) == heartbeat(1)


def test_old_heartbeats_give_way_to_new_ones():
    outbox = outbox_of()
    for seq in range(100):
        assert outbox.put(heartbeat(seq), urgent=True)
    seqs = [one.mgmt_req.ping.seq for one in got(outbox).bundle]
    assert len(seqs) < 20
    assert seqs[-1] == 99


def test_what_is_beyond_the_limit_is_refused_until_there_is_room():
    outbox = outbox_of(limit=1000, bundles=False)
    assert outbox.put(request(size=600))
    assert not outbox.put(request(size=600))
    assert outbox.put(heartbeat(1), urgent=True)
    assert got(outbox) == heartbeat(1)
    got(outbox)
    assert outbox.put(request(size=600))


def test_a_message_larger_than_the_limit_still_leaves_where_nothing_else_waits():
    outbox = outbox_of(limit=1000)
    assert outbox.put(request(size=5000))
    assert outbox.bytes > 5000
    assert len(got(outbox).put.value) == 5000


def test_a_bundle_is_bounded_and_the_rest_follows():
    outbox = outbox_of()
    for _ in range(4):
        outbox.put(request(size=BUNDLE_BYTES // 3))
    assert [len(got(outbox).bundle) for _ in range(2)] == [2, 2]


def test_a_message_larger_than_a_bundle_leaves_alone():
    outbox = outbox_of()
    for size in (2 * BUNDLE_BYTES, 10):
        outbox.put(request(size=size))
    assert [len(got(outbox).put.value) for _ in range(2)] == [2 * BUNDLE_BYTES, 10]


def test_a_reader_waits_for_the_next_message():
    async def wait():
        outbox = outbox_of()
        reader = asyncio.ensure_future(outbox.get())
        await asyncio.sleep(0)
        assert not reader.done()
        outbox.put(request("a"))
        return await asyncio.wait_for(reader, 10)

    assert asyncio.run(wait()) == request("a")


def test_a_closed_outbox_hands_out_what_waits_and_takes_no_more():
    outbox = outbox_of(bundles=False)
    outbox.put(request("a"))
    outbox.close()
    assert not outbox.put(request("b"))
    assert not outbox.put(heartbeat(1), urgent=True)
    assert got(outbox) == request("a")
    assert got(outbox) is None
