"""What waits to be written to one stream: bounded in bytes, heartbeats first, the rest gathered into bundles."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

from django_hacache.wire import cache_pb2 as pb

BUNDLE_BYTES = 1 << 20

Message = TypeVar("Message", pb.CacheRequest, pb.Ack)


class Outbox(Generic[Message]):
    """A queue with one reader. While one message is being written, others gather into the next.

    Args:
        kind: CacheRequest or Ack.
        limit: bytes that may wait; more is refused.
        bundles: whether the other side understands several messages in one.
    """

    def __init__(self, kind: type[Message], *, limit: int, bundles: bool) -> None:
        self._kind: type[Message] = kind
        self._limit = limit
        self._bundles = bundles
        self._urgent: deque[Message] = deque()
        self._waiting: deque[tuple[Message, int]] = deque()
        self._bytes = 0
        self._closed = False
        self._arrived = asyncio.Event()

    @property
    def bytes(self) -> int:
        return self._bytes

    def close(self) -> None:
        """Take no more; what waits is still handed out."""
        self._closed = True
        self._arrived.set()

    def discard(self) -> None:
        """Forget what waits, and take no more."""
        self._urgent.clear()
        self._waiting.clear()
        self._bytes = 0
        self.close()

    def put(self, message: Message, *, urgent: bool = False) -> bool:
        """Queue a message; False where the queue is full or closed and it was not taken."""
        if self._closed:
            return False
        if urgent:
            # A heartbeat that is late is of no use: the newest replaces what has waited.
            if len(self._urgent) > 8:
                self._urgent.popleft()
            self._urgent.append(message)
        else:
            size = message.ByteSize()
            if self._waiting and self._bytes + size > self._limit:
                return False
            self._waiting.append((message, size))
            self._bytes += size
        self._arrived.set()
        return True

    async def get(self) -> Message | None:
        """The next message to write; None when the outbox is closed and empty."""
        while not (self._urgent or self._waiting):
            if self._closed:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        if not self._bundles:
            return self._urgent.popleft() if self._urgent else self._pop()
        batch = list(self._urgent)
        self._urgent.clear()
        size = 0
        while self._waiting and (size == 0 or size + self._waiting[0][1] <= BUNDLE_BYTES):
            size += self._waiting[0][1]
            batch.append(self._pop())
        return batch[0] if len(batch) == 1 else self._kind(bundle=batch)

    def _pop(self) -> Message:
        message, size = self._waiting.popleft()
        self._bytes -= size
        return message
