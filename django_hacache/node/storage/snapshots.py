"""State transfer: the leader sends its replica part by part, the follower stores it, and the log goes on beside it.

What is sent next and what is taken is decided in consensus/transfer.py, what a part is in parts.py. Here they are
carried: a few on the way and no more, in a small part of the event loop's time, a value that is large in pieces.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from django_hacache.consensus.dedup import Recorded
from django_hacache.consensus.hard_state import Installing
from django_hacache.consensus.transfer import Next, Outgoing, Part
from django_hacache.exceptions import ReplicaError
from django_hacache.node.log_throttle import LogThrottle
from django_hacache.node.storage import parts
from django_hacache.node.storage.incomplete import is_place
from django_hacache.node.storage.parts import PART_BYTES, Arrived
from django_hacache.node.storage.storage import applied_place
from django_hacache.replica.clock import now_ms
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django_hacache.consensus.dedup import RequestTable
    from django_hacache.consensus.messages import Sender
    from django_hacache.replica.replica import Replica

logger = logging.getLogger("django_hacache.node")

# While so much is on the way without being acknowledged nothing more leaves; over a slow link, much less: one part is
# under way while the next one waits, for without it the link is idle from each part to its answer.
WINDOW_BYTES = 2 << 20
LEAST_WINDOW_BYTES = 32 << 10
# Parts are small there, or each would stand in the queue of the link for longer than the log may wait. What is around
# one, in the message and in what answers it, takes some 300 bytes.
LEAST_PART_BYTES = 24 << 10
PROGRESS_EVERY_S = 2.0
# How often a sender that waits looks whether something else is to be done.
LOOK_S = 0.05
# How much longer the loop is left to others than reading the parts takes; to send them takes it, too. So a transfer
# moves 100 MB/s and more, and beside it the slowest writes take about twice their time.
RESTS = 5
SHORTEST_REST_S = 0.002
# Others must not wait for long because they had nothing to do before.
LONGEST_CREDIT_S = 0.002
# After a transfer that broke off: what broke it rarely passes at once.
PAUSE_S = 0.5


class BrokenOff(Exception):
    """A transfer cannot go on. No OSError, for those are the replica's."""


@dataclass(slots=True)
class Moved:
    """How far one transfer is. Bytes are those of keys and values, and of the recent requests."""

    peer: str
    incoming: bool
    total_entries: int
    started: float
    bytes: int = 0
    # Those of earlier transfers that broke off included.
    entries: int = 0

    def to_wire(self, now: float) -> pb.Transfer:
        return pb.Transfer(
            peer=self.peer,
            incoming=self.incoming,
            bytes=self.bytes,
            entries=self.entries,
            total_entries=self.total_entries,
            elapsed_ms=int((now - self.started) * 1000),
        )

    def described(self, now: float) -> str:
        percent = min(100 * self.entries // max(self.total_entries, 1), 100)
        return f"{percent} %, {self.bytes / 1e6 / max(now - self.started, 0.001):.1f} MB/s"


@dataclass(slots=True)
class Running:
    """One transfer to a peer."""

    peer: str
    term: int
    outgoing: Outgoing
    moved: Moved
    name: str = field(default_factory=lambda: os.urandom(8).hex())
    acknowledged: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    async def wait(self) -> None:
        """Wait for an acknowledgement, or for a moment."""
        self.acknowledged.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await self.acknowledged.wait()


class SnapshotSender:
    """Sends this node's replica to the peers whose own are incomplete.

    ended: called when a transfer is over, with the peer and whether its replica is complete.
    """

    def __init__(
        self,
        replica: Replica,
        send: Callable[[str, pb.CacheRequest], bool],
        ended: Callable[[str, bool], None],
        table: RequestTable,
    ) -> None:
        self._replica = replica
        self._send = send
        self._ended = ended
        self._table = table
        self._running: dict[str, Running] = {}
        self._throttle = LogThrottle(logger)

    def transfers(self) -> list[pb.Transfer]:
        """What is on its way, for people: to peers that have said how far they are."""
        known = (running for running in self._running.values() if running.outgoing.position is not None)
        return [running.moved.to_wire(time.monotonic()) for running in known]

    def start(self, peer: str, term: int) -> None:
        """Begin a transfer, or go on with it; one that is under way to the same peer is over."""
        self.cancel(peer)
        moved = Moved(peer, False, 0, time.monotonic())
        running = Running(peer, term, Outgoing(now_ms(), window=(LEAST_WINDOW_BYTES, WINDOW_BYTES)), moved)
        self._running[peer] = running
        running.task = asyncio.get_running_loop().create_task(self._run(running))

    def cancel(self, peer: str) -> bool:
        """Break a transfer off without a word to anybody; whether there was one."""
        running = self._running.pop(peer, None)
        if running is not None and running.task is not None:
            running.task.cancel()
        return running is not None

    def cancel_all(self) -> None:
        for peer in list(self._running):
            self.cancel(peer)

    def on_ack(self, peer: str, ack: pb.SnapshotAck) -> None:
        running = self._running.get(peer)
        if running is None or ack.transfer != running.name:
            return
        if running.outgoing.position is None:
            running.moved.entries = ack.entries
        refused = ack.broken or not is_place(ack.position)
        running.outgoing.acknowledged(ack.number, _installing_of(ack), now_ms(), refused=refused)
        running.acknowledged.set()

    async def _run(self, running: Running) -> None:
        peer = running.peer
        try:
            await self._transfer(running)
        except (BrokenOff, ReplicaError) as error:
            self._throttle.say(f"{peer} {error}", f"the snapshot for {peer} broke off: {error}")
            await asyncio.sleep(PAUSE_S)
        finally:
            if self._running.get(peer) is running:
                del self._running[peer]
                self._ended(peer, running.outgoing.complete)

    async def _transfer(self, running: Running) -> None:
        outgoing, moved, pace = running.outgoing, running.moved, Pace()
        shown = moved.started
        while (following := outgoing.next(now_ms())) is not Next.END:
            if following is Next.WAIT:
                await running.wait()
                pace.begin()
            elif following is Next.ASK:
                question = pb.SnapshotChunk(number=outgoing.asked(now_ms()))
                await self._put(running, pb.CacheRequest(snapshot_chunk=question))
            else:
                await self._send_part(running, pace)
            if time.monotonic() - shown >= PROGRESS_EVERY_S:
                shown = time.monotonic()
                logger.info("snapshot for %s: %s", running.peer, moved.described(shown))
        if not outgoing.complete:
            raise BrokenOff("the follower cannot go on with it" if outgoing.broken else "nothing came back")
        if moved.bytes:
            seconds = time.monotonic() - moved.started
            logger.info("%s has the snapshot: %d bytes in %.1f s", running.peer, moved.bytes, seconds)
        self._throttle.settled()

    async def _send_part(self, running: Running, pace: Pace) -> None:
        outgoing, moved = running.outgoing, running.moved
        assert outgoing.position is not None, "what to read is known once the peer has answered"
        limit = min(max(outgoing.window_bytes // 2, LEAST_PART_BYTES), PART_BYTES)
        read = self._read(outgoing.position, moved, limit)
        for request, size in _requests_with(read, limit):
            while not outgoing.has_room():
                await running.wait()
                pace.begin()
                if outgoing.next(now_ms()) is Next.END:
                    return
            request.snapshot_chunk.number = outgoing.sent(size, now_ms())
            request.snapshot_chunk.total_items = moved.total_entries
            await self._put(running, request)
            moved.bytes += size
            pace.stop()
            await pace.rest()
        moved.entries += read.entries
        outgoing.part_sent(read.part)

    def _read(self, after: bytes, moved: Moved, limit: int) -> parts.Read:
        with self._replica.snapshot() as reading:
            if not moved.total_entries:
                moved.total_entries = sum(reading.usage(cache).entries for cache in reading.caches())
                logger.info(
                    "sending %s a snapshot, %d of %d entries",
                    moved.peer,
                    moved.total_entries - moved.entries,
                    moved.total_entries,
                )
            index, _ = applied_place(reading.journal)
            table = self._table
            return parts.read(reading, index, after, table.items, table.floor, limit)

    async def _put(self, running: Running, request: pb.CacheRequest) -> None:
        chunk = request.snapshot_chunk
        chunk.term, chunk.transfer = running.term, running.name
        while not self._send(running.peer, request):
            # The queue of the stream is full, or there is no stream for the moment.
            await running.wait()
            if running.outgoing.next(now_ms()) is Next.END:
                return


class Pace:
    """Leaves the event loop to others: after each piece of work at once, and in all for RESTS times as long as it took.

    What is owed adds up until it is long enough for a timer. Timers are late, by more than a piece of work takes: what
    was rested too long counts for the next pieces.
    """

    def __init__(self) -> None:
        self._owed = 0.0
        self._began = self._stopped = time.monotonic()

    def begin(self) -> None:
        """What passed was no work."""
        self._began = self._stopped = time.monotonic()
        self._owed = 0.0

    def stop(self) -> None:
        """A piece of work is done."""
        self._stopped = time.monotonic()
        self._owed += (self._stopped - self._began) * RESTS

    async def rest(self) -> None:
        """Wait until the next piece of work may begin. What passed since `stop` counts, whatever it was."""
        owed = self._owed - (time.monotonic() - self._stopped)
        await asyncio.sleep(owed if owed >= SHORTEST_REST_S else 0)
        self._began = time.monotonic()
        self._owed = max(self._owed - (self._began - self._stopped), -LONGEST_CREDIT_S)


def _requests_with(read: parts.Read, limit: int) -> Iterator[tuple[pb.CacheRequest, int]]:
    """The messages for a part, each with the bytes in it: one, or as many as a large value takes."""
    items = read.request.snapshot_chunk.items
    large = items[0].value if len(items) == 1 else b""
    if len(large) <= 2 * limit:
        yield read.request, read.size
        return
    for offset in range(0, len(large), limit):
        piece = items[0].value = large[offset : offset + limit]
        request = pb.CacheRequest()
        request.CopyFrom(read.request)
        chunk = request.snapshot_chunk
        chunk.offset, chunk.more = offset, offset + limit < len(large)
        yield request, len(piece)


def _installing_of(ack: pb.SnapshotAck) -> Installing | None:
    return Installing(ack.position, ack.reached, ack.whole) if ack.HasField("position") else None


class SnapshotTarget(Protocol):
    """What the receiver needs from the runtime."""

    @property
    def installing(self) -> Installing | None: ...
    def part_arrives(self, sender: Sender, term: int, arrived: Arrived | None) -> bool: ...
    def entries(self) -> int: ...


class SnapshotReceiver:
    """Takes what comes of one transfer at a time, in order."""

    def __init__(self, target: SnapshotTarget) -> None:
        self._target = target
        self._transfer = ""
        self._moved: Moved | None = None
        # Of a value that comes in pieces.
        self._pieces: list[bytes] = []
        self._throttle = LogThrottle(logger)

    def transfers(self) -> list[pb.Transfer]:
        """What is being received, for people."""
        return [self._moved.to_wire(time.monotonic())] if self._moved is not None and self._transfer else []

    def on_chunk(self, sender: Sender, chunk: pb.SnapshotChunk) -> pb.SnapshotAck:
        """Take a chunk; returns what to tell the leader."""
        ack = pb.SnapshotAck(term=chunk.term, transfer=chunk.transfer, number=chunk.number)
        ack.broken = not self._takes(sender, chunk)
        installing = self._target.installing
        if installing is not None:
            ack.position, ack.reached, ack.whole = installing
        elif self._moved is not None and self._transfer == chunk.transfer and not ack.broken:
            logger.info("the snapshot is complete, %d bytes", self._moved.bytes)
            self._transfer = ""
        if not chunk.HasField("after"):
            ack.entries = self._target.entries()
        return ack

    def _takes(self, sender: Sender, chunk: pb.SnapshotChunk) -> bool:
        if not chunk.HasField("after"):
            return self._target.part_arrives(sender, chunk.term, None)
        begun = chunk.transfer == self._transfer
        flaw = parts.flaw(chunk, sum(map(len, self._pieces)) if begun and chunk.offset else 0)
        if flaw:
            self._throttle.say(
                f"{sender.addr} sends",
                f"{sender.addr} sent a part that no leader sends; it is ignored: {flaw}",
            )
            return False
        if not begun or self._moved is None:
            self._begin(sender, chunk)
        assert self._moved is not None, "a transfer has begun"
        part = Part(chunk.after, chunk.upto, chunk.index, chunk.done, chunk.floor)
        items = list(chunk.items)
        if chunk.offset != sum(map(len, self._pieces)):
            self._pieces.clear()
            return False
        if chunk.more:
            self._pieces.append(items[0].value)
            installing = self._target.installing
            taken = installing is not None and part.follows(installing)
            taken = taken and self._target.part_arrives(sender, chunk.term, None)
        else:
            if self._pieces:
                whole = pb.SnapshotItem()
                whole.CopyFrom(items[0])
                whole.value = b"".join((*self._pieces, whole.value))
                self._pieces.clear()
                items = [whole]
            requests = [(one.req_id, Recorded(one.index, one.outcome)) for one in chunk.requests]
            arrived = Arrived(part, items, requests, now_ms())
            taken = self._target.part_arrives(sender, chunk.term, arrived)
            self._moved.entries += len(items)
        # Not ByteSize: that is a serialization.
        self._moved.bytes += sum(len(item.key) + len(item.value) for item in chunk.items)
        self._moved.bytes += sum(len(one.req_id) + len(one.outcome) for one in chunk.requests)
        return taken

    def _begin(self, sender: Sender, chunk: pb.SnapshotChunk) -> None:
        self._transfer = chunk.transfer
        self._pieces.clear()
        self._moved = Moved(sender.addr, True, chunk.total_items, time.monotonic())
        self._moved.entries = self._target.entries()
        logger.info(
            "receiving a snapshot from %s, %d of %d entries are here",
            sender.addr,
            self._moved.entries,
            chunk.total_items,
        )
