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

    @property
    def reads(self):
        return self._transport.reading

    def lose(self):
        self._transport = None

    async def go_on(self):
        """Let the loop turn until there is nothing to do."""
        while self._busy:
            self.turns.append([])
            await asyncio.sleep(0)

    @property
    def taken(self):
        return [payload for turn in self.turns for payload in turn]


class Loop(asyncio.SelectorEventLoop):
    """A loop whose clock a test may put forward."""

    ahead_s = 0.0

    def time(self):
        return super().time() + self.ahead_s


async def pass_by(seconds):
    """Let so much time pass on the loop's clock, and what is due then be done."""
    loop: Loop = asyncio.get_running_loop()
    loop.ahead_s += seconds
    done = asyncio.Event()
    loop.call_later(0, done.set)
    await done.wait()


def run(scenario):
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(scenario)


@pytest.mark.parametrize("size", [0, 30, 5000, BYTES_AT_ONCE + 1])
def test_a_turn_takes_a_bounded_number_of_frames_and_of_bytes_and_none_is_lost(size):
    payloads = [number.to_bytes(4, "big") + bytes(size) for number in range(300)]

    async def scenario():
        taker = Taker()
        taker.data_received(b"".join(map(frame, payloads)))
        assert not taker.reads
        assert taker.whole == 0
        await taker.go_on()
        assert taker.reads
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
        taker.lose()
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
        assert not taker.reads
        taker.resume()
        assert taker.reads

    run(scenario())


class Connection:
    def __init__(self, process=1):
        self.process = process
        self.reading = True
        self.ended = asyncio.Event()

    def pause(self):
        self.reading = False

    def resume(self):
        self.reading = True

    def abort(self):
        self.ended.set()


MB = 1 << 20


def begun(limit=8 * MB, patience_s=60.0, grant_s=60.0):
    said = []
    held = Begun(limit, lambda *told: said.append(told), patience_s=patience_s, grant_s=grant_s)
    return held, said


def reading(connections):
    return [one.reading for one in connections]


def test_large_requests_that_are_not_whole_have_room_one_by_one_and_read_to_their_end():
    async def scenario():
        held, _ = begun()
        requests = [Connection(process) for process in range(4)]
        for one in requests:
            held.begins(one, 3 * MB)
        assert reading(requests) == [True, True, False, False]
        assert held.bytes == 6 * MB
        held.ends(requests[1])
        assert reading(requests) == [True, True, True, False]
        held.ends(requests[3])  # it has gone while it waited
        for one in requests[:3]:
            held.ends(one)
        assert held.bytes == len(held) == 0

    run(scenario())


def test_a_small_request_waits_for_nobody():
    async def scenario():
        held, _ = begun()
        large = [Connection(process) for process in range(9)]
        for one in large:
            held.begins(one, 4 * MB)
        small = Connection()
        held.begins(small, 100)
        assert small.reading
        for one in (*large, small):
            held.ends(one)
        assert held.bytes == len(held) == 0

    run(scenario())


def test_one_process_has_half_of_the_room_and_the_one_with_least_is_next():
    async def scenario():
        held, _ = begun()
        greedy = [Connection(1) for _ in range(50)]
        for one in greedy:
            held.begins(one, 2 * MB)
        assert reading(greedy).count(True) == 2
        other, third, fourth = Connection(2), Connection(3), Connection(4)
        held.begins(other, 3 * MB)
        held.begins(third, 2 * MB)
        held.begins(fourth, 1 * MB)
        assert other.reading
        assert not third.reading
        assert not fourth.reading
        held.ends(other)
        assert third.reading
        assert fourth.reading
        assert reading(greedy).count(True) == 2
        for one in (*greedy, third, fourth):
            held.ends(one)
        assert held.bytes == len(held) == 0

    run(scenario())


def test_what_is_not_whole_gives_its_room_to_who_waits_and_without_them_keeps_it():
    async def scenario():
        held, said = begun(grant_s=0.02)
        stuck = [Connection(1), Connection(2)]
        for one in stuck:
            held.begins(one, 4 * MB)
        waiting = Connection(3)
        held.begins(waiting, 4 * MB)
        assert not waiting.reading
        await asyncio.wait_for(stuck[0].ended.wait(), 20)
        assert waiting.reading
        assert stuck[1].ended.is_set()
        assert [reason for reason, _ in said] == ["half", "half"]
        # Nobody waits any more.
        await pass_by(3 * 0.02)
        assert not waiting.ended.is_set()
        held.ends(waiting)
        for one in stuck:
            held.ends(one)  # it is told that their connections are gone, too
        assert held.bytes == len(held) == 0

    run(scenario())


def test_who_is_granted_room_while_others_give_theirs_up_has_its_time():
    async def scenario():
        held, _ = begun(grant_s=60)
        first, second = Connection(1), Connection(2)
        held.begins(first, 4 * MB)
        held.begins(second, 4 * MB)
        later = [Connection(3), Connection(4)]
        for one in later:
            held.begins(one, 4 * MB)
        await pass_by(30)
        assert not first.ended.is_set()
        held.ends(first)
        assert reading(later) == [True, False]
        await pass_by(30)
        assert second.ended.is_set()
        assert reading(later) == [True, True]
        assert not later[0].ended.is_set()
        for one in later:
            held.ends(one)

    run(scenario())


@pytest.mark.parametrize("size", [100, 4 * MB])
def test_what_has_begun_and_is_not_whole_in_time_ends_its_connection(size):
    async def scenario():
        held, said = begun(patience_s=0.01)
        stuck = Connection()
        held.begins(stuck, size)
        await asyncio.wait_for(stuck.ended.wait(), 20)
        assert held.bytes == len(held) == 0
        assert said[0][0] == "half"

    run(scenario())
