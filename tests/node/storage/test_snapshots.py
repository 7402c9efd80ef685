"""A replica on its way: what is kept in memory for it, what goes on after a break, how much of the loop it takes."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from django_hacache.consensus import transfer as rules
from django_hacache.consensus.config import CoreConfig
from django_hacache.consensus.core import Core
from django_hacache.consensus.dedup import Recorded, RequestTable
from django_hacache.consensus.hard_state import HardState, Installing
from django_hacache.consensus.log import Log
from django_hacache.consensus.messages import Entry, Sender
from django_hacache.consensus.ready import Ready
from django_hacache.node.evaluation.evaluator import Evaluator
from django_hacache.node.storage import parts, snapshots
from django_hacache.node.storage.incomplete import REQUESTS, is_place
from django_hacache.node.storage.parts import PART_BYTES, PART_ENTRIES
from django_hacache.node.storage.snapshots import WINDOW_BYTES, SnapshotReceiver, SnapshotSender
from django_hacache.node.storage.storage import APPLIED, PLACE, Storage
from django_hacache.node.transport.streams.outbox import Outbox
from django_hacache.replica.clock import NEVER
from django_hacache.replica.layout import MAX_CACHES
from django_hacache.replica.replica import Replica
from django_hacache.wire import cache_pb2 as pb
from tests.replica.writing import digest

PEER = "b:2"
TERM = 5
LEADER = Sender("a:1", "incarnation", None, fresh=False)
INDEX = 7


def fill(replica, *sizes, cache="default"):
    with replica.write() as transaction:
        for number, size in enumerate(sizes):
            key = f"key{number:06}"
            transaction.set(cache, key, bytes(size), version=number + 1, expires_at=NEVER)
        transaction.journal.put_meta(APPLIED, PLACE.pack(INDEX, 1))


def table_of(requests):
    table = RequestTable(100_000, 1 << 30)
    table.replace(requests, 0)
    return table


def size_of(chunk):
    return sum(len(item.value) for item in chunk.items) + sum(len(one.outcome) for one in chunk.requests)


class Target:
    """The runtime of a follower: stores what its leader sends and is the next part."""

    def __init__(self, replica, term=TERM):
        self.storage = Storage(replica)
        self.replica = replica
        self.term = term
        self.hard = HardState("b", TERM, installing=Installing(b"", INDEX))
        self.storage.write(Ready(reset_log=(INDEX, 1), hard_state=self.hard), self.hard, 0)
        self.requests = []

    @property
    def installing(self):
        return self.hard.installing

    def part_arrives(self, sender, term, arrived):
        if term != self.term or (arrived and not (self.installing and arrived.part.follows(self.installing))):
            return False
        if arrived is not None:
            part = arrived.part
            self.requests += arrived.requests
            installing = None if part.last else Installing(part.upto, part.index)
            self.hard = HardState("b", TERM, installing=installing)
            self.storage.write(Ready(hard_state=self.hard), self.hard, 0, arrived)
        return True

    def entries(self):
        return self.replica.usage("default").entries


class Link:
    """Joins a sender with a receiver; what is sent waits here until a test brings it on."""

    def __init__(self, replica, target, requests=()):
        self.arrived = asyncio.Queue()
        self.waiting = self.most = 0
        self.items = []
        self.chunks = 0
        self.up = True
        self.receiver = SnapshotReceiver(target)
        self.target = target
        self.ended = asyncio.Queue()
        self.sender = SnapshotSender(replica, self.take, self.end, table_of(requests))
        self.sender.start(PEER, TERM)

    def take(self, peer, request):
        if self.up:
            chunk = request.snapshot_chunk
            self.waiting += size_of(chunk)
            self.most = max(self.most, self.waiting)
            self.arrived.put_nowait(chunk)
        return self.up

    def end(self, peer, complete):
        self.ended.put_nowait(complete)
        self.arrived.put_nowait(None)

    async def bring(self):
        """Bring the next chunk to the receiver, and its answer back; nothing once the transfer has ended."""
        chunk = await self.arrived.get()
        if chunk is None:
            return None, None
        self.waiting -= size_of(chunk)
        self.items += [item.key for item in chunk.items]
        self.chunks += chunk.HasField("after")
        ack = self.receiver.on_chunk(LEADER, chunk)
        self.sender.on_ack(PEER, ack)
        return chunk, ack

    async def bring_all(self):
        """Bring everything; whether the replica is whole then."""
        bringing = asyncio.get_running_loop().create_task(self._for_ever())
        complete = await self.ended.get()
        bringing.cancel()
        return complete

    async def _for_ever(self):
        while True:
            await self.bring()


@pytest.fixture
def copy(tmp_path):
    replica = Replica.open(tmp_path / "copy", writable=True, map_size=64 << 20, keeps_journal=True)
    yield replica
    replica.close()


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


class Writer:
    """A leader that goes on writing: decides, applies and remembers for the follower's log."""

    def __init__(self, replica, rng):
        self.replica, self.rng = replica, rng
        self.evaluator, self.storage = Evaluator(replica), Storage(replica)
        self.hard = HardState("a", TERM)
        self.index, self.log = INDEX, []

    def write(self):
        kind = self.rng.choice(("set", "set", "del", "incr", "touch", "keep", "clear"))
        names = {"cache_name": self.rng.choice(("a", "default")), "entry": f"key{self.rng.randrange(300):06}"}
        change = {
            "set": lambda: pb.Insert(**names, value=bytes(self.rng.choice((10, 1000, 300_000)))),
            "del": lambda: pb.Remove(**names),
            "incr": lambda: pb.Insert(**names, value=b"1"),
            "touch": lambda: pb.Touch(**names, ttl_ms=3_600_000),
            "keep": lambda: pb.Insert(**names, value=b"2", keep_ttl=True),
            "clear": lambda: pb.Clear(cache_name="a"),
        }[kind]()
        if kind == "clear" and self.rng.random() < 0.9:
            return
        request = pb.CacheRequest()
        name = {pb.Insert: "insert", pb.Remove: "remove", pb.Touch: "touch", pb.Clear: "clear"}[type(change)]
        getattr(request, name).CopyFrom(change)
        self.index += 1
        effect, outcome = self.evaluator.evaluate(request, self.index, 1000)
        entry = Entry(self.index, 1, effect, f"r{self.index}", outcome, born_ms=1000)
        self.log.append(entry)
        self.storage.write(Ready(entries=[entry], apply=[entry]), self.hard, 0)
        self.evaluator.applied(self.index)


class LaggingTarget(Target):
    """A follower with the rules of the core, whose log comes in its own time."""

    def __init__(self, replica, writer, rng):
        super().__init__(replica)
        self.writer, self.rng = writer, rng
        config = CoreConfig("b:2", ("a:1", "c:3"))
        evaluator = Evaluator(replica)
        self.core = Core(
            config, self.hard, Log(INDEX, 1), applied=INDEX, evaluator=evaluator, now_ms=0, rng=rng
        )

    @property
    def installing(self):
        return self.core.hard.installing

    def part_arrives(self, sender, term, arrived):
        part = arrived and arrived.part
        requests = self.storage.requests_with(arrived) if part and part.last else ()
        state = self.core.state
        if arrived is not None and not part.follows(self.installing):
            return False
        if arrived is not None:
            state.harden(installing=Installing(part.upto, part.index, part.last))
            assert requests is not None
        self.log_comes(self.rng.randrange(20))
        self.store(arrived)
        return True

    def log_comes(self, count):
        state = self.core.state
        for entry in self.writer.log[state.log.last_index - INDEX :][:count]:
            state.log.append(entry)
            state.ready.entries.append(entry)
        state.commit_to(state.log.last_index)
        state.apply_bytes_max = 1 << 30  # all of it in one Ready
        state.apply_committed()
        self.core.installation.finish()

    def store(self, arrived=None):
        ready, self.core.state.ready = self.core.state.ready, Ready()
        self.storage.write(ready, self.core.hard, 0, arrived)


@pytest.mark.parametrize("seed", range(8))
def test_a_replica_that_is_written_to_meanwhile_arrives_as_it_is_at_the_end(replica, copy, rng, seed):
    rng.seed(seed)
    fill(replica, *[rng.choice((10, 3000)) for _ in range(300)])
    writer = Writer(replica, rng)

    async def transfer():
        target = LaggingTarget(copy, writer, rng)
        link = Link(replica, target)
        while link.ended.empty():
            for _ in range(rng.randrange(20)):
                writer.write()
            await link.bring()
            await asyncio.sleep(0)
            target.log_comes(rng.randrange(40))
            target.store()
        assert await link.ended.get()
        target.log_comes(100_000)
        target.store()
        return target.core.state.applied

    assert asyncio.run(transfer()) == writer.index
    assert digest(copy) == digest(replica)


def chunk_of(**changed):
    item = pb.SnapshotItem(cache_name="default", key=b"k", value=b"v", version=1)
    given = {
        "term": TERM,
        "transfer": "t",
        "number": 1,
        "after": b"",
        "upto": b"x",
        "index": INDEX,
        "items": [item],
    }
    return pb.SnapshotChunk(**(given | changed))


NO_PARTS = {
    "a transfer without a name": {"transfer": ""},
    "a transfer with a long one": {"transfer": "t" * 100},
    "a piece of nothing": {"items": [], "more": True},
    "a piece of two values": {"items": [pb.SnapshotItem(cache_name="c", key=b"k")] * 2, "more": True},
    "the last piece of nothing": {"items": [], "offset": 1},
    "a key that is empty": {"items": [pb.SnapshotItem(cache_name="c", key=b"")]},
    "a key that is too long": {"items": [pb.SnapshotItem(cache_name="c", key=b"k" * 512)]},
    "a cache without a name": {"items": [pb.SnapshotItem(cache_name="", key=b"k")]},
    "a cache with a NUL in its name": {"items": [pb.SnapshotItem(cache_name="a\0b", key=b"k")]},
    "a place that is too long": {"upto": b"x" * 2000},
    "a floor above the part": {"floor": INDEX + 1, "done": True},
    "a request from after the part": {"requests": [pb.RecentRequest(req_id="r", index=INDEX + 1)]},
}


@pytest.mark.parametrize("name", NO_PARTS)
def test_what_no_leader_sends_is_told_of_and_changes_nothing(replica, caplog, name):
    target = Target(replica)
    receiver = SnapshotReceiver(target)
    before = target.hard
    for _ in range(2):
        assert receiver.on_chunk(LEADER, chunk_of(**NO_PARTS[name])).broken
    assert target.hard == before
    assert caplog.text.count("no leader sends") == 1
    assert not receiver.on_chunk(LEADER, chunk_of()).broken


def test_the_pieces_of_a_value_are_kept_up_to_the_largest_value(replica, monkeypatch):
    monkeypatch.setattr(parts, "VALUE_BYTES_MAX", 5)
    receiver = SnapshotReceiver(Target(replica))
    pieces = [pb.SnapshotItem(cache_name="c", key=b"k", value=b"vv") for _ in range(3)]
    taken = [
        not receiver.on_chunk(LEADER, chunk_of(items=[piece], offset=2 * number, more=True)).broken
        for number, piece in enumerate(pieces)
    ]
    assert taken == [True, True, False]


def test_more_caches_than_a_replica_can_hold_end_no_node(replica, caplog):
    items = [pb.SnapshotItem(cache_name=f"c{number}", key=b"k") for number in range(MAX_CACHES + 1)]
    assert not SnapshotReceiver(Target(replica)).on_chunk(LEADER, chunk_of(items=items)).broken
    with replica.snapshot() as reading:
        assert len(reading.caches()) == MAX_CACHES
    assert "is skipped" in caplog.text


@pytest.mark.parametrize("place", [b"k" * 600, b"c\0" + b"k" * 600, REQUESTS + b"x", REQUESTS + bytes(17)])
def test_nothing_can_be_read_from_a_place_that_is_none(place):
    assert not is_place(place)
