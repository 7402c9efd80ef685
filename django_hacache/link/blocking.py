"""The client of threads and greenlets: each request has a connection to itself. Must not know what requests mean."""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING

from django_hacache.link.address import socket_address
from django_hacache.link.connection import Connection
from django_hacache.link.exchange import Exchange
from django_hacache.link.lost import Lost, lost
from django_hacache.system.interruption import ensure_own
from django_hacache.system.platform import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django_hacache.link.pipeline import R, Waits
    from django_hacache.link.request import Request
    from django_hacache.wire import cache_pb2 as pb

# How many unused connections to keep: each takes a descriptor and memory of the node.
IDLE_MAX = 32


class NodeClient:
    """Connections to the node of this host, made when they are needed. For all threads of a process.

    A request takes one out of the pool and gives it back when it has its answer. So nothing else can come between a
    request and its answer: no other thread or greenlet, no signal handler, no request that was given up.
    """

    __slots__ = ("_alive_at", "_gone", "_idle", "_path")

    def __init__(
        self, path: Path, gone: Callable[[], bool] = lambda: False, alive_at: Callable[[], int] = lambda: 0
    ) -> None:
        """Take the path of the node's socket. Raises ConfigurationError where it is too long.

        gone: asked where nobody listens there; whether nobody is to be expected until the deadline.
        alive_at: asked where no answer comes; when the node showed its last sign of life, see Watch.
        """
        socket_address(path)
        self._path = path
        self._gone = gone
        self._alive_at = alive_at
        self._idle: list[Connection] = []

    def request(
        self, request: Request | pb.CacheRequest, *, deadline: float, since: tuple[int, int] = (0, 0)
    ) -> pb.Ack:
        """Send a request and return the node's answer. Takes and raises what Exchange does.

        Whatever else arrives meanwhile, as a time limit does, is raised as it is.
        """
        return self.complete(Exchange(request, deadline=deadline, since=since))

    def go_on(self, exchange: Exchange, cause: Exception) -> pb.Ack:
        """Send again what was sent, and is due no answer any more because of `cause`. Raises as `request` does."""
        time.sleep(exchange.retry_pause_s(cause, self._path, self._gone))
        return self.complete(exchange)

    def complete(self, exchange: Exchange) -> pb.Ack:
        """Send a request until it is answered."""
        deadline = exchange.deadline
        while True:
            connection: Connection | None = None
            try:
                connection = self._send(exchange)
                exchange.sent()
                ack = exchange.answer(connection.receive(deadline))
            except BaseException as error:
                # Close it: a later request on it could be given the answer to this one.
                if connection is not None:
                    connection.close()
                if not isinstance(error, Lost):
                    raise
                pause = exchange.retry_pause_s(error.__cause__, self._path, self._gone)
            else:
                self.give_back(connection)
                return exchange.ensure_conclusive(ack)
            time.sleep(pause)

    def take(self) -> Connection:
        """A connection that nobody else uses. Raises Lost."""
        return self._idle_one() or Connection(self._path, self._alive_at)

    def give_back(self, connection: Connection) -> None:
        """Let others use it. No answer may be due on it."""
        if len(self._idle) < IDLE_MAX:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close the connections that nobody uses now; the next request makes a new one."""
        while self._idle:
            self._idle.pop().close()

    def _send(self, exchange: Exchange) -> Connection:
        """Return the connection on which the request is on its way now."""
        payload, deadline = exchange.payload, exchange.deadline
        if monotonic() >= deadline:
            raise lost(TimeoutError("The deadline has passed."))
        connection = self._idle_one()
        if connection is not None:
            try:
                connection.send(payload, deadline)
            except Lost as error:
                connection.close()
                if not isinstance(error.__cause__, BrokenPipeError | ConnectionResetError):
                    raise
                # The node has restarted and closed all connections: close the others, too. On a Unix socket the send
                # says so at once, so nobody has seen the request, and it is no retry.
                self.close()
            else:
                return connection
        connection = Connection(self._path, self._alive_at)
        connection.send(payload, deadline)
        return connection

    def _idle_one(self) -> Connection | None:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError as error:
                ensure_own(error)
                return None
            if connection.selects_by is select.select:
                return connection
            connection.close()


def carried_out(steps: Waits[R]) -> R:
    """Take the steps of a pipeline, and wait where they say so."""
    try:
        wait = next(steps)
        while True:
            try:
                came = wait.connection.ready(writable=wait.writable, seconds=wait.seconds)
            except BaseException as error:
                steps.throw(error)
                raise
            wait = steps.send(came)
    except StopIteration as end:
        result: R = end.value
        return result
