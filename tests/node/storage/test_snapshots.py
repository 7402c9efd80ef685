"""A replica on its way: what is kept in memory for it, what goes on after a break, how much of the loop it takes."""

from __future__ import annotations

import asyncio

import pytest

from django_hacache.consensus import transfer as rules
from django_hacache.consensus.dedup import Recorded
from django_hacache.consensus.hard_state import HardState
from django_hacache.node.storage.parts import PART_BYTES, PART_ENTRIES
from django_hacache.node.storage.snapshots import WINDOW_BYTES, SnapshotReceiver
from django_hacache.node.storage.storage import APPLIED, PLACE
from django_hacache.wire import cache_pb2 as pb
from tests.node.storage.transferring import INDEX, LEADER, TERM, Link, Target, fill, size_of
from tests.replica.writing import digest


@pytest.mark.parametrize("sizes", [[40_000] * 200, [3 * WINDOW_BYTES] * 4, [10] * 3000, []])
def test_a_replica_arrives_whole_and_no_more_is_on_the_way_than_the_window_and_one_part(replica, copy, sizes):
    fill(replica, *sizes)
    fill(replica, 5, 6, cache="another")

    async def transfer():
        link = Link(replica, Target(copy))
        return await link.bring_all(), link

    complete, link = asyncio.run(transfer())
    assert complete
    assert link.most <= WINDOW_BYTES + 2 * PART_BYTES
    assert digest(copy) == digest(replica)


def test_a_part_has_a_bounded_number_of_entries_and_each_entry_goes_once(replica, copy):
    fill(replica, *[10] * 1000)

    async def transfer():
        link = Link(replica, Target(copy))
        return await link.bring_all(), link

    _, link = asyncio.run(transfer())
    assert link.chunks == 1000 // PART_ENTRIES + 2  # what is after the last entry, and the requests
    assert len(link.items) == len(set(link.items)) == 1000


def test_over_a_link_of_which_nothing_is_known_a_part_has_several_values_of_some_size(replica, copy):
    """Each part costs a few hundred bytes of its own."""
    fill(replica, *[10_000] * 8)

    async def scenario():
        link = Link(replica, Target(copy))
        await link.bring()  # the question how far it is
        chunk, _ = await link.bring()
        assert len(chunk.items) == 2
        assert await link.bring_all()

    asyncio.run(scenario())


def test_a_large_value_goes_in_pieces_each_of_which_is_acknowledged(replica, copy):
    fill(replica, 10, 10 * PART_BYTES + 1, 10)

    async def transfer():
        link = Link(replica, Target(copy))
        pieces = 0
        while link.ended.empty():
            chunk, ack = await link.bring()
            if chunk is None:
                break
            assert size_of(chunk) <= PART_BYTES
            assert not ack.broken
            pieces += chunk.more
            await asyncio.sleep(0)
        return pieces

    assert asyncio.run(transfer()) >= 10
    assert digest(copy) == digest(replica)


def test_a_piece_that_is_missing_breaks_the_transfer_and_never_a_value(replica, copy):
    fill(replica, 4 * PART_BYTES)

    async def transfer():
        link = Link(replica, Target(copy))
        await link.bring()
        await link.bring()
        await link.arrived.get()
        _, ack = await link.bring()
        assert ack.broken
        assert link.target.entries() == 0
        return await link.ended.get()

    assert not asyncio.run(transfer())


def test_a_transfer_goes_on_where_it_was(replica, copy):
    fill(replica, *[10_000] * 100)

    async def transfer():
        target = Target(copy)
        link = Link(replica, target)
        for _ in range(4):
            await link.bring()
        link.sender.cancel_all()
        before = link.items
        assert 0 < len(before) < 100
        again = Link(replica, target)
        complete = await again.bring_all()
        return complete, before, again.items

    complete, before, after = asyncio.run(transfer())
    assert complete
    assert not set(before) & set(after)
    assert digest(copy) == digest(replica)


def test_what_is_shown_of_a_transfer_that_goes_on_counts_what_is_there(replica, copy):
    fill(replica, *[10_000] * 100)

    async def transfer():
        target = Target(copy)
        link = Link(replica, target)
        for _ in range(4):
            await link.bring()
        here = target.entries()
        link.sender.cancel_all()
        again = Link(replica, target)
        for _ in range(2):
            await again.bring()
        (outgoing,), (incoming,) = again.sender.transfers(), again.receiver.transfers()
        again.sender.cancel_all()
        return here, outgoing, incoming

    here, outgoing, incoming = asyncio.run(transfer())
    assert outgoing.entries >= here > 0
    assert incoming.entries > here
    assert incoming.total_entries == outgoing.total_entries == 100


@pytest.mark.parametrize(("count", "outcome"), [(5000, 10), (200, 40_000)])
def test_recent_requests_that_are_more_than_a_part_go_in_several(replica, copy, count, outcome):
    fill(replica, 10)
    requests = [(f"r{index}", Recorded(index, bytes(outcome))) for index in range(1, count + 1)]
    with replica.write() as transaction:
        transaction.journal.put_meta(APPLIED, PLACE.pack(count, 1))

    async def transfer():
        target = Target(copy)
        link = Link(replica, target, requests)
        assert await link.bring_all()
        return target.requests, link.most, link.chunks

    arrived, most, chunks = asyncio.run(transfer())
    assert arrived == requests
    assert most <= WINDOW_BYTES + 2 * PART_BYTES
    assert chunks > 2


def test_requests_that_the_leader_has_not_applied_yet_do_not_go(replica, copy):
    fill(replica, 10)

    async def transfer():
        target = Target(copy)
        link = Link(replica, target, [("applied", Recorded(INDEX, b"")), ("later", Recorded(INDEX + 1, b""))])
        assert await link.bring_all()
        return target.requests

    assert [req_id for req_id, _ in asyncio.run(transfer())] == ["applied"]


@pytest.mark.parametrize(
    "part",
    [
        rules.Part(b"elsewhere", b"z", INDEX),
        rules.Part(b"default\0key000010", b"z", INDEX),
        rules.Part(b"", b"z", INDEX - 1),
    ],
    ids=["a place that it has not", "a place after a gap", "an earlier index"],
)
def test_a_part_that_is_not_the_next_one_is_not_stored(replica, copy, part):
    target = Target(copy)
    item = pb.SnapshotItem(cache_name="default", key=b"a", value=b"1", version=1)
    chunk = pb.SnapshotChunk(
        term=TERM, transfer="1", number=1, after=part.after, upto=part.upto, index=part.index, items=[item]
    )
    ack = SnapshotReceiver(target).on_chunk(LEADER, chunk)
    assert ack.broken
    assert ack.position == b""
    assert target.entries() == 0


def test_who_needs_nothing_says_so(replica, copy):
    fill(replica, 10)

    async def transfer():
        target = Target(copy)
        target.hard = HardState("b", TERM)
        link = Link(replica, target)
        return await link.bring_all(), link.items

    assert asyncio.run(transfer()) == (True, [])
