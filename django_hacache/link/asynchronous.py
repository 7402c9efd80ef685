"""The client of an event loop: one connection for all its requests. Must not know what requests mean."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from django_hacache.exceptions import LinkError
from django_hacache.link.address import socket_address
from django_hacache.link.exchange import Exchange
from django_hacache.link.framing import frame
from django_hacache.link.lost import Lost, lost
from django_hacache.link.multiplexed import Connection
from django_hacache.system.platform import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django_hacache.link.pipeline import R, Wait, Waits
    from django_hacache.link.request import Request
    from django_hacache.wire import cache_pb2 as pb

# Requests without an answer on one connection, including those that were given up. With more the node is stuck.
IN_FLIGHT_MAX = 4096


class AsyncNodeClient:
    """A connection to the node of this host, made when it is first needed. For one event loop."""

    __slots__ = ("_alive_at", "_connection", "_gone", "_path")

    def __init__(
        self, path: Path, gone: Callable[[], bool] = lambda: False, alive_at: Callable[[], int] = lambda: 0
    ) -> None:
        """Take the path of the node's socket, and what NodeClient takes. Raises as that does."""
        socket_address(path)
        self._path = path
        self._gone = gone
        self._alive_at = alive_at
        self._connection: Connection | None = None

    async def request(
        self, request: Request | pb.CacheRequest, *, deadline: float, since: tuple[int, int] = (0, 0)
    ) -> pb.Ack:
        """Send a request and return the node's answer, as NodeClient.request does, without blocking the loop.

        Raises LinkError where the request carries no req_id to match the answer by.
        """
        return await self.complete(Exchange(request, deadline=deadline, since=since))

    async def go_on(self, exchange: Exchange, cause: Exception) -> pb.Ack:
        """As NodeClient.go_on."""
        await asyncio.sleep(exchange.retry_pause_s(cause, self._path, self._gone))
        return await self.complete(exchange)

    async def complete(self, exchange: Exchange) -> pb.Ack:
        """Send a request until it is answered."""
        deadline = exchange.deadline
        if not exchange.req_id:
            raise LinkError("A request needs a req_id to be matched with its answer; this one has none.")
        while True:
            left = deadline - monotonic()
            limit = asyncio.timeout(left)
            try:
                if left <= 0:
                    raise lost(TimeoutError("The deadline has passed."))
                async with limit:
                    answer = await self._connected().send(exchange.req_id, frame(exchange.payload))
                    exchange.sent()
                    ack = await answer
            except Lost as error:
                pause = exchange.retry_pause_s(error.__cause__, self._path, self._gone)
            except TimeoutError as error:
                if not _is_over(limit, error):
                    raise
                pause = exchange.retry_pause_s(error, self._path, self._gone)
            else:
                return exchange.ensure_conclusive(ack)
            await asyncio.sleep(pause)

    def close(self) -> None:
        """Close the connection; requests in flight on it are sent again on a new one."""
        if self._connection is not None:
            self._connection.lose(lost("The connection was closed."))
            self._connection = None

    def abandon(self) -> None:
        """Close the connection of an event loop that has ended."""
        if self._connection is not None:
            self._connection.socket.close()
            self._connection = None

    def _connected(self) -> Connection:
        connection = self._connection
        if connection is None or connection.lost or connection.takes_no_more:
            connection = self._connection = Connection(self._path, self._alive_at)
        elif len(connection.in_flight) >= IN_FLIGHT_MAX:
            connection.lose(lost(f"{IN_FLIGHT_MAX} requests have no answer."))
            connection = self._connection = Connection(self._path, self._alive_at)
        return connection


async def acarried_out(steps: Waits[R]) -> R:
    """Take the steps of a pipeline, and wait where they say so, without blocking the loop."""
    try:
        wait = next(steps)
        while True:
            try:
                came = await _ready(wait)
            except BaseException as error:
                steps.throw(error)
                raise
            wait = steps.send(came)
    except StopIteration as end:
        result: R = end.value
        return result


async def _ready(wait: Wait) -> bool:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[bool] = loop.create_future()
    begin, end = (
        (loop.add_writer, loop.remove_writer) if wait.writable else (loop.add_reader, loop.remove_reader)
    )
    # A loop tells one callback of a descriptor. Another task may wait for the same connection, and whoever closes it
    # meanwhile gives its number to somebody else.
    descriptor = os.dup(wait.connection.descriptor)
    try:
        begin(descriptor, _note, ready)
        try:
            await asyncio.wait([ready], timeout=wait.seconds)
            return ready.done()
        finally:
            end(descriptor)
            ready.cancel()
    finally:
        os.close(descriptor)


def _note(ready: asyncio.Future[bool]) -> None:
    if not ready.done():
        ready.set_result(True)


def _is_over(limit: asyncio.Timeout, error: TimeoutError) -> bool:
    """Whether `error` is the end of `limit`, and no other TimeoutError."""
    return limit.expired() and isinstance(error.__cause__, asyncio.CancelledError)
