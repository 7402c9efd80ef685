"""A transfer leaves the loop to others, and waits where nothing can go."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from django_hacache.consensus import transfer as rules
from django_hacache.node.storage import snapshots
from django_hacache.node.storage.parts import PART_BYTES
from django_hacache.node.transport.streams.outbox import Outbox
from django_hacache.wire import cache_pb2 as pb
from tests.node.storage.transferring import LEADER, PEER, TERM, Link, Target, fill
from tests.replica.writing import digest


def test_others_have_the_loop_after_every_part(replica, copy):
    fill(replica, *[PART_BYTES] * 10)

    async def transfer():
        link, seen = Link(replica, Target(copy)), []
        await link.bring()
        for _ in range(1000):
            await asyncio.sleep(0)
            seen.append(link.arrived.qsize())
            if link.arrived.qsize() and len(seen) % 20 == 0:
                await link.bring()
        link.sender.cancel_all()
        return seen

    seen = asyncio.run(transfer())
    assert max(seen) > 0
    assert all(later - earlier <= 1 for earlier, later in zip([0, *seen], seen, strict=False))


@pytest.mark.parametrize("late_s", [0.0, 0.0015])
def test_a_transfer_leaves_the_loop_to_others_for_as_long_as_it_is_to_be_timers_are_late_all_the_same(
    monkeypatch, late_s
):
    now = 0.0

    async def sleep(seconds):
        nonlocal now
        now += seconds + late_s if seconds else 0.00001

    monkeypatch.setattr(snapshots, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(snapshots, "asyncio", SimpleNamespace(sleep=sleep))

    async def rested(pieces, work_s):
        nonlocal now
        pace, began = snapshots.Pace(), now
        for _ in range(pieces):
            now += work_s
            pace.stop()
            await pace.rest()
        return (now - began) / (pieces * work_s) - 1

    assert asyncio.run(rested(1000, 0.0001)) == pytest.approx(snapshots.RESTS, rel=0.05)


def test_the_file_of_a_leader_grows_no_further_while_a_transfer_stands_still(replica, copy):
    """No transaction is open while a part is on its way: the pages that are overwritten are used again."""
    sizes = [10_000] * 200
    fill(replica, *sizes)

    async def transfer():
        link = Link(replica, Target(copy))
        await link.bring()
        await link.arrived.get()
        fill(replica, *sizes)
        fill(replica, *sizes)
        before = replica._environment.file_bytes()
        for _ in range(20):
            fill(replica, *sizes)
        link.sender.cancel_all()
        return replica._environment.file_bytes() - before

    assert asyncio.run(transfer()) < sum(sizes) / 2


def test_a_peer_that_says_nothing_at_all_is_asked_anew(replica, copy, monkeypatch, caplog):
    monkeypatch.setattr(rules, "SILENCE_MS", 50)
    monkeypatch.setattr(rules.Outgoing.__init__, "__kwdefaults__", {"silence_ms": 50})
    monkeypatch.setattr(snapshots, "PAUSE_S", 0)
    fill(replica, 10)

    async def transfer():
        link = Link(replica, Target(copy))
        return await link.ended.get()

    assert not asyncio.run(transfer())
    assert "broke off: nothing came back" in caplog.text


def test_a_stream_that_is_down_for_a_moment_is_waited_for(replica, copy):
    fill(replica, *[10_000] * 100)

    async def transfer():
        link = Link(replica, Target(copy))
        link.up = False
        await asyncio.sleep(0.01)
        assert link.arrived.empty()
        assert link.sender.transfers() == []
        link.up = True
        return await link.bring_all()

    assert asyncio.run(transfer())
    assert digest(copy) == digest(replica)


def test_values_that_fill_the_queue_of_the_stream_are_waited_for(replica, copy):
    fill(replica, *[PART_BYTES] * 12)

    async def transfer():
        link = Link(replica, Target(copy))
        # Room for one chunk, and for what is being written.
        outbox = Outbox(pb.CacheRequest, limit=2 * PART_BYTES, bundles=True)
        link.sender._send = lambda peer, request: outbox.put(request)

        async def written():
            while True:
                link.take(PEER, await outbox.get())

        writing = asyncio.get_running_loop().create_task(written())
        complete = await link.bring_all()
        writing.cancel()
        return complete

    assert asyncio.run(transfer())
    assert digest(copy) == digest(replica)


def test_a_leader_whose_term_is_over_does_not_break_the_transfer_of_the_one_that_leads(replica, copy):
    fill(replica, *[10_000] * 100)

    async def transfer():
        link = Link(replica, Target(copy))
        for _ in range(3):
            await link.bring()
        stale = pb.SnapshotChunk(term=TERM - 1, transfer="stale", number=1, after=b"", upto=b"x", index=99)
        ack = link.receiver.on_chunk(LEADER, stale)
        assert ack.broken
        return await link.bring_all()

    assert asyncio.run(transfer())
    assert digest(copy) == digest(replica)
