"""A leader and a target, with a link between them that a test can hold up."""

from __future__ import annotations

import asyncio

from django_hacache.consensus.dedup import RequestTable
from django_hacache.consensus.hard_state import HardState, Installing
from django_hacache.consensus.messages import Sender
from django_hacache.consensus.ready import Ready
from django_hacache.node.storage.snapshots import SnapshotReceiver, SnapshotSender
from django_hacache.node.storage.storage import APPLIED, PLACE, Storage
from django_hacache.replica.clock import NEVER

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
