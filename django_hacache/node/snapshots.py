"""State transfer: the leader streams a consistent picture of its replica, the follower stores it part by part.

Writes go on meanwhile: the sender keeps a few chunks on the way and no more, and takes a small part
of the event loop's time. Whatever breaks off starts again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from django_hacache.consensus.requests import Recorded
from django_hacache.exceptions import ReplicaError
from django_hacache.node.complaints import Complaints
from django_hacache.node.durable import Installed, applied_place
from django_hacache.node.effects import MS
from django_hacache.replica.clock import NEVER, boottime_ns
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django_hacache.consensus.messages import Sender
    from django_hacache.replica.replica import Replica
    from django_hacache.replica.transaction import ReadTransaction

logger = logging.getLogger("django_hacache.node")

# A chunk is what the event loop does in one go; a larger value is a chunk of its own.
CHUNK_BYTES = 128 << 10
CHUNK_ENTRIES = 200
# While so much is on the way without being acknowledged no further chunk leaves.
WINDOW_BYTES = 2 << 20
ACK_TIMEOUT_S = 10.0
PROGRESS_EVERY_S = 2.0
# How much longer the loop is left to others than a transfer has taken it. Measured: it moves 100 MB/s and more all the
# same, and beside it the slowest writes take about twice their time.
RESTS = 4
SHORTEST_REST_S = 0.002
# After a transfer that broke off: what broke it rarely passes at once, and each try costs the follower its replica.
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


class SnapshotSender:
    """Sends this node's replica to the peers that the log no longer reaches."""

    def __init__(
        self,
        replica: Replica,
        send: Callable[[str, pb.CacheRequest], bool],
        ended: Callable[[str, int | None], None],
        requests: Callable[[int], list[tuple[str, Recorded]]],
    ) -> None:
        self._replica = replica
        self._requests = requests
        self._send = send
        self._ended = ended
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._acks: dict[str, asyncio.Queue[pb.SnapshotAck]] = {}
        self._moved: dict[str, Moved] = {}
        self._complaints = Complaints(logger)

    def transfers(self) -> list[pb.Transfer]:
        """What is on its way, for people."""
        return [self._moved[peer].to_wire(time.monotonic()) for peer in self._tasks if peer in self._moved]

    def start(self, peer: str, term: int) -> None:
        """Begin a transfer; one that is under way to the same peer is over."""
        self.cancel(peer)
        acks: asyncio.Queue[pb.SnapshotAck] = asyncio.Queue()
        self._acks[peer] = acks
        self._tasks[peer] = asyncio.get_running_loop().create_task(self._run(peer, term, acks))

    def cancel(self, peer: str) -> bool:
        """Break a transfer off without a word to anybody; whether there was one."""
        task = self._tasks.pop(peer, None)
        if task is not None:
            task.cancel()
        return task is not None

    def cancel_all(self) -> None:
        for peer in list(self._tasks):
            self.cancel(peer)

    def on_ack(self, peer: str, ack: pb.SnapshotAck) -> None:
        if peer in self._tasks:
            self._acks[peer].put_nowait(ack)

    async def _run(self, peer: str, term: int, acks: asyncio.Queue[pb.SnapshotAck]) -> None:
        index: int | None = None
        try:
            index = await self._transfer(peer, term, acks)
        except (BrokenOff, ReplicaError) as error:
            self._complaints.say(f"{peer} {error}", f"the snapshot for {peer} broke off: {error}")
            await asyncio.sleep(PAUSE_S)
        finally:
            if self._tasks.get(peer) is asyncio.current_task():
                del self._tasks[peer]
                self._ended(peer, index)

    async def _transfer(self, peer: str, term: int, acks: asyncio.Queue[pb.SnapshotAck]) -> int:
        transfer = os.urandom(8).hex()
        shown = time.monotonic()
        window, pace = Window(transfer, acks), Pace()
        with self._replica.snapshot() as reading:
            last_index, last_term = applied_place(reading.journal)
            requests = self._requests(last_index)
            total = sum(reading.usage(cache).entries for cache in reading.caches())
            logger.info("sending %s a snapshot at index %d, %d entries", peer, last_index, total)
            moved = self._moved[peer] = Moved(peer, False, total, shown)
            for number, (chunk, size) in enumerate(_chunks(reading, requests)):
                chunk.term, chunk.transfer, chunk.number = term, transfer, number
                chunk.last_index, chunk.last_term, chunk.total_items = last_index, last_term, total
                request = pb.CacheRequest(snapshot_chunk=chunk)
                while not self._send(peer, request):
                    # Large values fill the stream's queue before they fill the window.
                    if window.is_empty:
                        raise BrokenOff("the stream is down or full")
                    await window.next_ack()
                moved.bytes += size
                moved.entries += len(chunk.items)
                window.sent(size)
                pace.stop()
                await window.room()
                await pace.rest()
                if time.monotonic() - shown >= PROGRESS_EVERY_S:
                    shown = time.monotonic()
                    logger.info("snapshot for %s: %s", peer, moved.described(shown))
            await window.empty()
        seconds = time.monotonic() - moved.started
        logger.info("%s has the snapshot: %d bytes in %.1f s", peer, moved.bytes, seconds)
        self._complaints.settled()
        return last_index


class Window:
    """The chunks of one transfer that are on their way: the receiver stores them no faster than it can."""

    def __init__(self, transfer: str, acks: asyncio.Queue[pb.SnapshotAck]) -> None:
        self._transfer = transfer
        self._acks = acks
        self._sizes: deque[int] = deque()
        self._bytes = 0
        self._acked = 0

    @property
    def is_empty(self) -> bool:
        return not self._sizes

    def sent(self, size: int) -> None:
        self._sizes.append(size)
        self._bytes += size

    async def room(self) -> None:
        """Wait until a further chunk may leave."""
        while self._bytes >= WINDOW_BYTES:
            await self.next_ack()

    async def empty(self) -> None:
        """Wait until everything is stored."""
        while self._sizes:
            await self.next_ack()

    async def next_ack(self) -> None:
        """Wait until more is stored."""
        try:
            async with asyncio.timeout(ACK_TIMEOUT_S):
                ack = await self._acks.get()
        except TimeoutError:
            raise BrokenOff(f"no acknowledgement for {ACK_TIMEOUT_S:g} s") from None
        if ack.transfer != self._transfer:
            return
        if ack.broken:
            raise BrokenOff("the follower cannot go on with it")
        for _ in range(ack.number + 1 - self._acked):
            self._bytes -= self._sizes.popleft()
        self._acked = max(self._acked, ack.number + 1)


class Pace:
    """Leaves the event loop to others: after each piece of work at once, and in all for RESTS times as long as it took.

    What is owed adds up until it is long enough for a timer.
    """

    def __init__(self) -> None:
        self._owed = 0.0
        self._began = self._stopped = time.monotonic()

    def stop(self) -> None:
        """A piece of work is done."""
        self._stopped = time.monotonic()
        self._owed += (self._stopped - self._began) * RESTS

    async def rest(self) -> None:
        """Wait until the next piece of work may begin. What passed since `stop` counts, whatever it was."""
        owed = self._owed - (time.monotonic() - self._stopped)
        await asyncio.sleep(owed if owed >= SHORTEST_REST_S else 0)
        self._began = time.monotonic()
        self._owed = max(self._owed - (self._began - self._stopped), 0.0)


def _chunks(
    reading: ReadTransaction, requests: list[tuple[str, Recorded]]
) -> Iterator[tuple[pb.SnapshotChunk, int]]:
    """The chunks of a picture, each with the bytes in it: first the entries, then the recent requests."""
    chunk, size = pb.SnapshotChunk(), 0
    for cache in reading.caches():
        for entry in reading.items(cache):
            item = chunk.items.add(cache_name=cache, key=entry.key, value=entry.value, version=entry.version)
            if entry.expires_at != NEVER:
                item.ttl_ms = max(entry.expires_at - boottime_ns(), 0) // MS
            size += len(entry.value) + len(entry.key)
            if _is_full(chunk, size):
                yield chunk, size
                chunk, size = pb.SnapshotChunk(), 0
    for req_id, recorded in requests:
        if _is_full(chunk, size):
            yield chunk, size
            chunk, size = pb.SnapshotChunk(), 0
        chunk.requests.add(req_id=req_id, outcome=recorded.outcome, index=recorded.index)
        size += len(req_id) + len(recorded.outcome)
    chunk.done = True
    yield chunk, size


def _is_full(chunk: pb.SnapshotChunk, size: int) -> bool:
    return size >= CHUNK_BYTES or len(chunk.items) + len(chunk.requests) >= CHUNK_ENTRIES


class SnapshotTarget(Protocol):
    """What the receiver needs from the runtime."""

    def snapshot_begins(self, sender: Sender, term: int) -> bool: ...
    def snapshot_goes_on(self, sender: Sender, term: int) -> bool: ...
    def snapshot_stores(self, items: list[pb.SnapshotItem]) -> bool: ...
    def snapshot_installed(self, installed: Installed) -> None: ...


class SnapshotReceiver:
    """Stores the chunks of one transfer at a time, in order."""

    def __init__(self, target: SnapshotTarget) -> None:
        self._target = target
        self._transfer = ""
        self._next = 0
        self._moved: Moved | None = None
        self._requests: list[tuple[str, Recorded]] = []

    def transfers(self) -> list[pb.Transfer]:
        """What is being received, for people."""
        return [self._moved.to_wire(time.monotonic())] if self._moved is not None and self._transfer else []

    def on_chunk(self, sender: Sender, chunk: pb.SnapshotChunk) -> pb.SnapshotAck:
        """Store a chunk; returns what to tell the leader."""
        ack = pb.SnapshotAck(term=chunk.term, transfer=chunk.transfer, number=chunk.number, done=chunk.done)
        if chunk.number == 0:
            accepted = self._target.snapshot_begins(sender, chunk.term)
            # One that is refused, of a leader whose term is over, is nothing to the transfer that goes on.
            if accepted:
                self._transfer, self._next = chunk.transfer, 0
                self._requests = []
                self._moved = Moved(sender.addr, True, chunk.total_items, time.monotonic())
                logger.info("receiving a snapshot from %s, %d entries", sender.addr, chunk.total_items)
        else:
            accepted = self._target.snapshot_goes_on(sender, chunk.term)
        if not accepted or chunk.transfer != self._transfer or chunk.number != self._next:
            ack.broken = True
            return ack
        assert self._moved is not None, "a transfer begins with its first chunk"
        self._next += 1
        # Not ByteSize: that is a serialization.
        self._moved.bytes += sum(len(item.key) + len(item.value) for item in chunk.items)
        self._moved.bytes += sum(len(one.req_id) + len(one.outcome) for one in chunk.requests)
        self._moved.entries += len(chunk.items)
        self._requests += ((one.req_id, Recorded(one.index, one.outcome)) for one in chunk.requests)
        if not self._target.snapshot_stores(list(chunk.items)):
            ack.broken = True
            return ack
        if chunk.done:
            installed = Installed(chunk.last_index, chunk.last_term, self._requests)
            self._transfer, self._requests = "", []
            self._target.snapshot_installed(installed)
            logger.info("the snapshot is complete at index %d, %d bytes", chunk.last_index, self._moved.bytes)
        return ack
