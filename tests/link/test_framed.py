"""One connection takes some of the loop's time in a turn, and all together some memory for what is not whole."""

import asyncio

import pytest

from django_hacache.exceptions import LinkError
from django_hacache.link.begun import Begun
from django_hacache.link.framed import BYTES_AT_ONCE, FRAME_COSTS, Framed
from django_hacache.link.framing import FrameReader, Oversize, frame


class Transport:
    """Counts turns: data is there whenever it may be read."""

    reading = True

    def is_closing(self):
        return False

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True


class Taker(Framed):
    def __init__(self, most=1 << 20):
        self._frames = FrameReader(most)
        self._transport = Transport()
        self.turns = [[]]
        self.whole = 0
        self.error = None

    def payload_received(self, payload):
        self.turns[-1].append(payload)
        if payload == b"bad":
            raise LinkError("bad")

    def all_received(self):
        self.whole += 1

    def broken(self, error):
        self.error = error

    async def go_on(self):
        """Let the loop turn until there is nothing to do."""
        while self._busy:
            self.turns.append([])
            await asyncio.sleep(0)

    @property
    def taken(self):
        return [payload for turn in self.turns for payload in turn]


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario, 10))


@pytest.mark.parametrize("size", [0, 30, 5000, BYTES_AT_ONCE + 1])
def test_a_turn_takes_a_bounded_number_of_frames_and_of_bytes_and_none_is_lost(size):
    payloads = [number.to_bytes(4, "big") + bytes(size) for number in range(300)]

    async def scenario():
        taker = Taker()
        taker.data_received(b"".join(map(frame, payloads)))
        assert not taker._transport.reading
        assert taker.whole == 0
        await taker.go_on()
        assert taker._transport.reading
        assert taker.whole == 1
        assert taker.taken == payloads
        allowed = max(BYTES_AT_ONCE // (FRAME_COSTS + size), 1) + 1
        assert max(map(len, taker.turns)) <= allowed
        # And the next bytes are those of the next frame.
        taker.data_received(frame(b"next"))
        assert taker.taken[-1] == b"next"

    run(scenario())


def test_what_is_no_frame_is_told_in_whichever_turn_it_comes():
    async def scenario():
        taker = Taker()
        taker.data_received(frame(bytes(10)) * 100 + frame(b"bad") + frame(b"never"))
        assert taker.error is None
        await taker.go_on()
        assert isinstance(taker.error, LinkError)
        assert b"never" not in taker.taken
        again = Taker()
        again.data_received(b"\xff" * 100)
        assert isinstance(again.error, LinkError)

    run(scenario())


def test_a_connection_that_is_gone_takes_nothing_more():
    async def scenario():
        taker = Taker()
        taker.data_received(frame(bytes(10)) * 1000)
        taker._transport = None
        before = len(taker.taken)
        await asyncio.sleep(0)
        assert len(taker.taken) == before

    run(scenario())


def test_frames_that_are_skipped_count_as_well():
    async def scenario():
        taker = Taker(most=4)
        taker.data_received(frame(bytes(5)) * 1000)
        await taker.go_on()
        assert taker.taken == [Oversize(5)] * 1000
        assert len(taker.turns) > 10

    run(scenario())


def test_one_that_was_told_to_pause_does_not_read_on_after_its_turn():
    async def scenario():
        taker = Taker()
        taker.data_received(frame(bytes(10)) * 1000)
        taker.pause()
        await taker.go_on()
        assert not taker._transport.reading
        taker.resume()
        assert taker._transport.reading

    run(scenario())


class Connection:
    def __init__(self):
        self.reading = True
        self.ended = asyncio.Event()

    def pause(self):
        self.reading = False

    def resume(self):
        self.reading = True

    def abort(self):
        self.ended.set()


def begun(limit=100, patience_s=60.0):
    said = []
    return Begun(limit, lambda reason, message: said.append((reason, message)), patience_s=patience_s), said


def test_what_is_not_whole_is_bounded_and_the_oldest_goes_on():
    async def scenario():
        held, _ = begun()
        first, second, third = (Connection() for _ in range(3))
        held.waits(first, 60)
        held.waits(second, 30)
        held.waits(third, 20)
        assert [one.reading for one in (first, second, third)] == [True, True, False]
        held.waits(first, 90)
        assert first.reading  # somebody must become whole
        held.waits(second, 35)
        assert not second.reading
        assert held.bytes == 145
        held.waits(first, 0)
        assert [second.reading, third.reading] == [True, True]
        held.waits(second, 0)
        held.waits(third, 0)
        assert held.bytes == 0
        assert not held._timers

    run(scenario())


def test_of_those_that_wait_the_oldest_one_goes_on_where_there_is_no_room_for_all():
    async def scenario():
        held, _ = begun()
        first, second, third = (Connection() for _ in range(3))
        held.waits(first, 90)
        held.waits(second, 80)
        held.waits(third, 80)
        assert not second.reading
        assert not third.reading
        held.waits(first, 0)
        assert second.reading
        assert not third.reading
        held.waits(second, 0)
        assert third.reading

    run(scenario())


def test_the_oldest_one_goes_on_in_whatever_order_they_were_told_to_wait():
    async def scenario():
        held, _ = begun()
        first, second, third = (Connection() for _ in range(3))
        held.waits(first, 10)
        held.waits(second, 80)
        held.waits(third, 80)
        assert not third.reading
        held.waits(second, 85)
        assert not second.reading
        held.waits(first, 0)
        assert second.reading
        assert not third.reading

    run(scenario())


def test_what_has_begun_and_is_not_whole_in_time_ends_its_connection_and_gives_its_room_back():
    async def scenario():
        held, said = begun(patience_s=0.01)
        stuck, waiting = Connection(), Connection()
        held.waits(stuck, 100)
        held.waits(waiting, 50)
        assert not waiting.reading
        await stuck.ended.wait()
        assert waiting.reading
        assert not waiting.ended.is_set()  # its time begins now
        assert held.bytes == 50
        assert said[0][0] == "half"
        held.waits(waiting, 0)
        held.waits(stuck, 0)  # it is told that its connection is gone, too
        assert held.bytes == 0

    run(scenario())
