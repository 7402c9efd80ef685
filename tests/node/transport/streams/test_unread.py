"""How much of what clients were answered may wait to be read, whose turn it is, and who is cut off."""

from __future__ import annotations

import asyncio

import pytest

from django_hacache.node.transport.streams.unread import ANSWERS, PATIENCE_S, Unread

LARGEST = 100


class Stream:
    def __init__(self):
        self.cut = False

    def cut_off(self):
        self.cut = True


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def run(scenario, clock):
    async def bounded():
        unread = Unread(LARGEST, clock)
        async with asyncio.timeout(20):
            await scenario(unread)
        if unread._timer is not None:
            unread._timer.cancel()

    asyncio.run(bounded())


async def fill(unread, size=LARGEST):
    """Streams that have as much as there is room for, each its share."""
    streams = []
    while unread.bytes < unread.limit:
        streams.append(Stream())
        await unread.room(streams[-1])
        unread.answered(streams[-1], size)
    return streams


async def asks(unread, stream, order, size=LARGEST):
    await unread.room(stream)
    order.append(stream)
    unread.answered(stream, size)


async def turns():
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_client_with_its_share_unread_waits_until_it_has_read_of_it_and_holds_up_nobody(clock):
    async def scenario(unread):
        one, other, order = Stream(), Stream(), []
        for _ in range(2):
            await asks(unread, one, order, 50)
        waiting = asyncio.ensure_future(asks(unread, one, order, 50))
        await turns()
        assert order == [one, one]
        await asks(unread, other, order, 50)
        unread.read(one, 50)
        await waiting
        assert order == [one, one, other, one]
        assert unread.bytes == 150

    run(scenario, clock)


def test_all_together_have_room_for_some_answers_and_one_more(clock):
    async def scenario(unread):
        streams = await fill(unread, size=LARGEST - 1)
        assert len(streams) == ANSWERS + 1
        later, order = [Stream() for _ in range(3)], []
        waiting = [asyncio.ensure_future(asks(unread, one, order)) for one in later]
        await turns()
        assert order == []
        # There is room for one answer, however many were waiting for it.
        unread.read(streams[0], LARGEST - 1)
        await turns()
        assert order == later[:1]
        assert unread.limit <= unread.bytes < unread.limit + LARGEST
        for stream in streams[1:3]:
            unread.leave(stream)
        await asyncio.gather(*waiting)
        assert order == later

    run(scenario, clock)


def test_a_request_that_has_no_answer_yet_gives_its_turn_on(clock):
    async def scenario(unread):
        streams = await fill(unread)
        later = [Stream() for _ in range(3)]
        waiting = [asyncio.ensure_future(unread.room(one)) for one in later]
        await turns()
        assert not any(one.done() for one in waiting)
        unread.read(streams[0], LARGEST)
        await asyncio.gather(*waiting)

    run(scenario, clock)


def test_one_that_goes_while_it_waits_or_in_its_turn_keeps_nobody_from_theirs(clock):
    async def scenario(unread):
        streams = await fill(unread)
        gone, called, last = (asyncio.ensure_future(unread.room(Stream())) for _ in range(3))
        await turns()
        gone.cancel()
        await turns()
        unread.read(streams[0], LARGEST)
        called.cancel()
        await last
        for one in streams:
            unread.leave(one)
        assert unread.bytes == 0
        unread.read(streams[0], LARGEST)  # what was on its way when it went
        assert unread.bytes == 0

    run(scenario, clock)


def test_one_that_was_cancelled_in_this_very_step_gives_its_turn_on(clock):
    async def scenario(unread):
        streams = await fill(unread)
        gone, last = (asyncio.ensure_future(unread.room(Stream())) for _ in range(2))
        await turns()
        gone.cancel()
        unread.read(streams[0], LARGEST)
        await last

    run(scenario, clock)


def test_who_reads_nothing_is_cut_off_where_somebody_else_waits(clock):
    async def scenario(unread):
        streams = await fill(unread)
        clock.now += PATIENCE_S - 1
        unread.read(streams[0], 1)
        unread.answered(streams[0], 1)
        clock.now += 1
        unread._look()
        assert not any(one.cut for one in streams)  # nobody waits
        asyncio.ensure_future(unread.room(streams[1]))  # noqa: RUF006
        await turns()
        unread._look()
        assert not any(one.cut for one in streams)  # only one that has its share
        waiting = asyncio.ensure_future(unread.room(Stream()))
        await turns()
        unread._look()
        assert [one.cut for one in streams] == [False] + [True] * (len(streams) - 1)
        unread.leave(streams[2])
        await waiting

    run(scenario, clock)


def test_who_waits_for_nobody_but_itself_is_not_cut_off(clock):
    async def scenario(unread):
        streams = await fill(unread, size=LARGEST - 1)
        clock.now += PATIENCE_S
        waiting = asyncio.ensure_future(unread.room(streams[0]))
        await turns()
        unread._look()
        assert [one.cut for one in streams] == [False] + [True] * (len(streams) - 1)
        for one in streams[1:]:
            unread.leave(one)
        await waiting

    run(scenario, clock)
