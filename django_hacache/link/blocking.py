"""The client of threads and greenlets: each request has a connection to itself. Knows nothing of what requests mean."""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from django_hacache.exceptions import CacheUnavailable, LinkError, OutcomeUnknown
from django_hacache.link.address import in_vain, socket_address
from django_hacache.link.connection import Connection, Lost
from django_hacache.link.matching import answers, certain, req_id_of_request
from django_hacache.link.watch import Hung
from django_hacache.system.interruption import ensure_own
from django_hacache.system.platform import monotonic
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Pauses between attempts to connect, doubling (seconds).
PAUSE_MIN_S = 0.01
PAUSE_MAX_S = 0.05

# Connections that nobody uses. More were needed at once for a moment; the node has better uses for them.
IDLE_MAX = 32


class NodeClient:
    """Connections to the node of this host, made when they are needed. For all threads of a process.

    A request takes one out of the pool and gives it back when it has its answer. So nobody else can come between a
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

    def request(self, request: pb.CacheRequest, *, deadline: float, since: int = 1) -> pb.Ack:
        """Send a request and return the node's answer.

        A connection that breaks is made again and the same request, with the same req_id, is sent again:
        the node remembers the req_ids it has seen, so the change takes effect once.

        deadline: when to give up, as system.monotonic() tells the time (seconds).
        since: the log index that the host had applied before. What is sent again carries it: the node refuses
        where it may have forgotten since then what became of the first.
        Raises CacheUnavailable where no complete request was sent, OutcomeUnknown where one was and no
        answer came, or the answer to a later one is that it did not happen: at the deadline, or as soon as the node is
        gone, or found to hang. Whatever else arrives meanwhile, as a
        time limit does, is raised as it is.
        """
        payload = request.SerializeToString()
        req_id = req_id_of_request(request)
        sent = False
        pause = PAUSE_MIN_S
        cause: Exception | None = None
        while True:
            again = sent
            if again and not request.since_index:
                request.since_index = since
                payload = request.SerializeToString()
            connection: Connection | None = None
            try:
                connection = self._send(payload, deadline)
                sent = True
                ack = _parsed(connection.receive(deadline))
                if not answers(ack, req_id):
                    raise Lost from LinkError("The node answered another request.")
            except Lost as lost:
                # The answer that may still come belongs to no later request: this connection is done.
                if connection is not None:
                    connection.close()
                remaining = deadline - monotonic()
                # That the time is over says less than what went wrong before.
                error = lost.__cause__
                cause = (cause or error) if isinstance(error, TimeoutError) else error
                useless = isinstance(error, Hung) or in_vain(error, self._gone)
                if remaining <= 0 or useless:
                    raise _given_up(self._path, cause, sent=sent) from cause
            except BaseException:
                if connection is not None:
                    connection.close()
                raise
            else:
                self._give_back(connection)
                return certain(ack) if again else ack
            time.sleep(min(pause, remaining))
            pause = min(2 * pause, PAUSE_MAX_S)

    def close(self) -> None:
        """Close the connections that nobody uses now; the next request makes a new one."""
        while self._idle:
            self._idle.pop().close()

    def _send(self, payload: bytes, deadline: float) -> Connection:
        """Return the connection on which the request is on its way now."""
        if monotonic() >= deadline:
            raise Lost from TimeoutError("The deadline has passed.")
        connection = self._take()
        if connection is not None:
            try:
                connection.send(payload, deadline)
            except Lost as lost:
                connection.close()
                if not isinstance(lost.__cause__, BrokenPipeError | ConnectionResetError):
                    raise
                # A node that restarted has closed all connections: on a Unix socket the send says so at once, and
                # nobody has seen the request.
                self.close()
            else:
                return connection
        connection = Connection(self._path, self._alive_at)
        connection.send(payload, deadline)
        return connection

    def _take(self) -> Connection | None:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError as error:
                ensure_own(error)
                return None
            if connection.selects_by is select.select:
                return connection
            connection.close()

    def _give_back(self, connection: Connection) -> None:
        if len(self._idle) < IDLE_MAX:
            self._idle.append(connection)
        else:
            connection.close()


def _parsed(payload: bytes) -> pb.Ack:
    try:
        return pb.Ack.FromString(payload)
    except DecodeError as error:
        ensure_own(error)
        raise Lost from LinkError(f"The node's answer does not parse: {error}")


def _given_up(path: Path, error: Exception, *, sent: bool) -> CacheUnavailable:
    if sent:
        return OutcomeUnknown(f"The node at {path} did not answer in time ({error}).")
    return CacheUnavailable(f"The node at {path} could not be reached in time ({error}).")
