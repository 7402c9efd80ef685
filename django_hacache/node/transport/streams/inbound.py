"""InboundStream: what waits to be written to a stream that somebody opened here, and how much its opener may ask."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from django_hacache.node.transport.streams.outbox import Outbox
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from django_hacache.node.transport.streams.budget import Budget
    from django_hacache.node.transport.streams.unread import Unread


class InboundStream:
    """One stream that somebody opened to this node.

    Args:
        addr: the address that a node announced; empty for a client.
        host: where the stream comes from.
        limit: bytes of answers that may wait, for a node.
        unanswered: requests of a client whose answers it may not have read.
        budget: how fast a client is read.
        unread: what all clients together have not read.
    """

    def __init__(
        self,
        addr: str,
        *,
        limit: int,
        unanswered: int,
        host: str = "",
        budget: Budget | None = None,
        unread: Unread | None = None,
    ) -> None:
        self.addr = addr
        self.host = host
        # Of a client: the other end of its connection, as gRPC writes it.
        self.peer = ""
        self.budget = budget
        self._unread = unread
        self.outbox: Outbox[pb.Ack] = Outbox(pb.Ack, limit=limit, bundles=bool(addr))
        self.overrun = asyncio.Event()
        # Another one has its place: a node opens one at a time, and clients have so many.
        self.replaced = asyncio.Event()
        self._unanswered = unanswered
        # A client that has not read the answers to this many requests is not read from: that is its back pressure.
        self._slots = asyncio.Semaphore(unanswered)

    @property
    def is_node(self) -> bool:
        return bool(self.addr)

    def send(self, ack: pb.Ack, *, urgent: bool = False) -> bool:
        """Queue an answer; False where a node has too much waiting."""
        return self.outbox.put(ack, urgent=urgent)

    def reply(self, ack: pb.Ack | None) -> None:
        """Answer a request, or do not: with None."""
        if self.is_node:
            if ack is not None:
                self.send(ack)
        elif ack is None:
            self._slots.release()
        else:
            before = self.outbox.bytes
            self.send(ack)
            size = self.outbox.bytes - before
            if self._unread is not None:
                self._unread.answered(self, size)
            if self.budget is not None:
                self.budget.pay(size)

    def taken(self, size: int) -> None:
        """A client has read an answer, and may send one more request."""
        self._slots.release()
        if self._unread is not None:
            self._unread.read(self, size)

    async def room(self) -> None:
        """Wait until a client may be given one more answer. Its request is then taken before anything is awaited."""
        if self.is_node:
            return
        await self._slots.acquire()
        if self._unread is not None:
            await self._unread.room(self)

    def cut_off(self) -> None:
        """End the stream of a client that does not read: others wait for the room that its answers take."""
        self.outbox.discard()
        self.overrun.set()

    def leave(self) -> None:
        """The stream has ended: drop what is still answered."""
        self.outbox.discard()
        if self._unread is not None:
            self._unread.leave(self)

    async def finish(self) -> None:
        """The opener sends no more: close the outbox once everything is answered."""
        for _ in range(0 if self.is_node else self._unanswered):
            await self._slots.acquire()
        self.outbox.close()
