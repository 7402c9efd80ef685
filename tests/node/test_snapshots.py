"""A snapshot on its way: what the leader keeps in memory for it, and how much of the event loop it takes."""

from __future__ import annotations

import asyncio

import pytest

from django_hacache.consensus.messages import Sender
from django_hacache.consensus.requests import Recorded
from django_hacache.node import snapshots
from django_hacache.node.durable import Installed
from django_hacache.node.outbox import Outbox
from django_hacache.node.snapshots import WINDOW_BYTES, SnapshotReceiver, SnapshotSender
from django_hacache.replica.clock import NEVER
from django_hacache.wire import cache_pb2 as pb

PEER = "b:2"
TERM = 5
LEADER = Sender("a:1", "incarnation", None, fresh=False)


def fill(replica, *sizes):
    with replica.write() as transaction:
        for number, size in enumerate(sizes):
            transaction.set("default", f"key{number}", bytes(size), version=number + 1, expires_at=NEVER)


def size_of(chunk):
    return sum(len(item.value) for item in chunk.items) + sum(len(one.outcome) for one in chunk.requests)


class Follower:
    """Takes chunks as the network brings them, and answers when it is told to."""

    def __init__(self, replica, requests=()):
        self.arrived = asyncio.Queue()
        self.waiting = self.most = 0
        self.ended = asyncio.get_running_loop().create_future()
        self.sender = SnapshotSender(
            replica, self.take, lambda _, index: self.ended.set_result(index), lambda _: list(requests)
        )
        self.sender.start(PEER, 1)

    def take(self, peer, request):
        chunk = request.snapshot_chunk
        self.waiting += size_of(chunk)
        self.most = max(self.most, self.waiting)
        self.arrived.put_nowait(chunk)
        return True

    async def store(self):
        """Take the next chunk and acknowledge it; returns its number, its entries and whether it is the last."""
        chunk = await self.arrived.get()
        self.waiting -= size_of(chunk)
        self.sender.on_ack(
            PEER, pb.SnapshotAck(transfer=chunk.transfer, number=chunk.number, done=chunk.done)
        )
        return chunk.number, len(chunk.items), chunk.done

    async def store_all(self):
        stored = [await self.store()]
        while not stored[-1][-1]:
            stored.append(await self.store())
        return stored


@pytest.mark.parametrize("sizes", [[40_000] * 200, [3 * WINDOW_BYTES] * 4, [10] * 3000])
def test_no_more_is_on_the_way_than_the_window_and_one_chunk(replica, sizes):
    fill(replica, *sizes)

    async def transfer():
        follower = Follower(replica)
        stored = await follower.store_all()
        assert await follower.ended is not None
        return follower.most, stored

    most, stored = asyncio.run(transfer())
    numbers, entries, _ = zip(*stored, strict=True)
    assert most <= WINDOW_BYTES + max(*sizes, snapshots.CHUNK_BYTES * 2)
    assert sum(entries) == len(sizes)
    assert max(entries) <= snapshots.CHUNK_ENTRIES
    assert numbers == tuple(range(len(numbers)))


@pytest.mark.parametrize(("count", "outcome"), [(3000, 10), (200, 40_000)])
def test_recent_requests_that_are_more_than_a_chunk_go_in_several(replica, count, outcome):
    fill(replica, 10)
    requests = [(f"r{index}", Recorded(index, bytes(outcome))) for index in range(1, count + 1)]

    async def transfer():
        follower, target = Follower(replica, requests), Target()
        receiver, largest, done = SnapshotReceiver(target), 0, False
        while not done:
            chunk = await follower.arrived.get()
            chunk.term = TERM
            follower.waiting -= size_of(chunk)
            largest = max(largest, chunk.ByteSize())
            assert len(chunk.items) + len(chunk.requests) <= snapshots.CHUNK_ENTRIES
            ack = receiver.on_chunk(LEADER, chunk)
            assert not ack.broken
            follower.sender.on_ack(PEER, ack)
            done = chunk.done
        await follower.ended
        return target, largest, follower.most

    target, largest, most = asyncio.run(transfer())
    (installed,) = target.installed
    assert installed.requests == requests
    assert largest <= 2 * snapshots.CHUNK_BYTES
    assert most <= WINDOW_BYTES + 2 * snapshots.CHUNK_BYTES


def test_the_requests_of_a_transfer_that_broke_off_are_forgotten():
    first, second = chunks_of("a", 2), chunks_of("b", 2)
    first[0].requests.add(req_id="old", index=3)
    second[0].requests.add(req_id="new", index=4)
    second[1].requests.add(req_id="newer", index=5)
    target, *_ = received(first[0], *second)
    assert target.installed[0].requests == [("new", Recorded(4, b"")), ("newer", Recorded(5, b""))]


def test_others_have_the_loop_after_every_chunk(replica):
    fill(replica, *[snapshots.CHUNK_BYTES] * 10)

    async def transfer():
        follower, seen = Follower(replica), []
        while not follower.arrived.qsize() >= 10:
            await asyncio.sleep(0)
            seen.append(follower.arrived.qsize())
        follower.sender.cancel_all()
        return seen

    seen = asyncio.run(transfer())
    assert all(later - earlier <= 1 for earlier, later in zip([0, *seen], seen, strict=False))


def test_a_transfer_whose_chunks_nobody_acknowledges_breaks_off(replica, monkeypatch, caplog):
    monkeypatch.setattr(snapshots, "ACK_TIMEOUT_S", 0.05)
    fill(replica, 10)

    async def transfer():
        return await Follower(replica).ended

    assert asyncio.run(transfer()) is None
    assert "broke off: no acknowledgement" in caplog.text


def test_a_transfer_over_a_stream_that_is_down_is_told_in_a_line(replica, monkeypatch, caplog):
    monkeypatch.setattr(Follower, "take", lambda self, peer, request: False)

    async def transfer():
        return await Follower(replica).ended

    assert asyncio.run(transfer()) is None
    warnings = [record.getMessage() for record in caplog.records if record.levelname != "INFO"]
    assert warnings == [f"the snapshot for {PEER} broke off: the stream is down or full"]


def test_values_that_fill_the_queue_of_the_stream_are_waited_for(replica):
    fill(replica, *[2 * snapshots.CHUNK_BYTES] * 12)

    async def transfer():
        follower = Follower(replica)
        # Room for one chunk, and for what is being written.
        outbox = Outbox(pb.CacheRequest, limit=2 * snapshots.CHUNK_BYTES, bundles=True)
        follower.sender._send = lambda peer, request: outbox.put(request)
        entries, done = 0, False
        while not done:
            request = await outbox.get()
            follower.take(PEER, request)
            _, more, done = await follower.store()
            entries += more
        return entries, await follower.ended

    assert asyncio.run(transfer()) == (12, 0)


class Target:
    """The runtime of a follower: accepts every transfer of its leader."""

    def __init__(self):
        self.stored, self.installed = [], []

    def snapshot_begins(self, sender, term):
        return term == TERM

    def snapshot_goes_on(self, sender, term):
        return term == TERM

    def snapshot_stores(self, items):
        self.stored += [item.key for item in items]
        return b"does not fit" not in self.stored

    def snapshot_installed(self, installed: Installed):
        self.installed.append(installed)


def chunks_of(transfer, count, term=TERM):
    return [
        pb.SnapshotChunk(
            term=term,
            transfer=transfer,
            number=number,
            items=[pb.SnapshotItem(cache_name="default", key=f"{transfer}{number}".encode())],
            done=number == count - 1,
            last_index=7,
        )
        for number in range(count)
    ]


def received(*chunks):
    """What a follower stored of these chunks, and what it answered to each."""

    async def receive():
        target = Target()
        receiver = SnapshotReceiver(target)
        answers = [receiver.on_chunk(LEADER, chunk) for chunk in chunks]
        return target, [answer.broken for answer in answers], receiver.transfers()

    return asyncio.run(receive())


def test_a_snapshot_is_installed_with_its_last_chunk():
    target, broken, left = received(*chunks_of("a", 3))
    assert target.stored == [b"a0", b"a1", b"a2"]
    assert [installed.index for installed in target.installed] == [7]
    assert (broken, left) == ([False] * 3, [])


def test_a_transfer_that_begins_anew_replaces_the_one_before():
    first, second = chunks_of("a", 3), chunks_of("b", 2)
    target, broken, _ = received(*first[:2], *second[:1], first[2], second[1])
    # The last chunk of the old one is late, and is not taken for one of the new.
    assert target.stored == [b"a0", b"a1", b"b0", b"b1"]
    assert broken == [False, False, False, True, False]
    assert len(target.installed) == 1


def test_a_leader_whose_term_is_over_does_not_break_the_transfer_of_the_one_that_leads():
    good, stale = chunks_of("a", 3), chunks_of("b", 2, term=TERM - 1)
    target, broken, left = received(good[0], stale[0], good[1], stale[1], good[2])
    assert target.stored == [b"a0", b"a1", b"a2"]
    assert broken == [False, True, False, True, False]
    assert len(target.installed) == 1
    assert left == []


def test_a_transfer_that_is_refused_is_not_shown():
    *_, left = received(*chunks_of("a", 2, term=TERM - 1)[:1])
    assert left == []


@pytest.mark.parametrize("order", [[1], [0, 2], [0, 1, 1], [0, 0, 2]])
def test_a_chunk_that_is_missing_or_comes_twice_breaks_the_transfer(order):
    chunks = chunks_of("a", 3)
    target, broken, _ = received(*(chunks[number] for number in order))
    assert broken[-1]
    assert target.installed == []


def test_a_chunk_that_cannot_be_stored_breaks_the_transfer():
    chunks = chunks_of("a", 2)
    chunks[1].items[0].key = b"does not fit"
    target, broken, _ = received(*chunks)
    assert broken == [False, True]
    assert target.installed == []
