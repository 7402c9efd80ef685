"""The node's end of the Unix socket, in its event loop. Parses requests; must not know what they mean."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import stat
from typing import TYPE_CHECKING

from django_hacache.exceptions import LinkError
from django_hacache.link.address import socket_address
from django_hacache.link.begun import Begun
from django_hacache.link.framed import Framed
from django_hacache.link.framing import FRAME_BYTES_MAX, FrameReader, Oversize, frame
from django_hacache.system.directory import Directory, Identity, is_still, open_private
from django_hacache.system.platform import peer_pid, peer_uid
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Reply = Callable[[pb.Ack | None], None]
    Handler = Callable[[pb.CacheRequest, Reply], None]
    Complain = Callable[[str, str], None]

logger = logging.getLogger("django_hacache.link")

BACKLOG = 1024

# Room for requests that have arrived in part, of all connections together: for so many of the largest.
BEGUN_REQUESTS = 4

# A worker that lets more bytes of answers pile up unread is disconnected.
UNREAD_BYTES_MAX = 1024 * 1024


class LinkServer:
    """Listens on a Unix socket and hands each request to `handle(request, reply)`.

    `handle` returns at once and calls `reply(ack)` once for each request, at any time, in the loop's thread and in any
    order; with None where there is no answer. A reply to a worker that has gone is dropped. Only processes of this user
    may connect. A request of more than `max_request_bytes` is skipped without being buffered, and answered by an Error
    with ERROR_TOO_LARGE and without a req_id. Bytes that are no request end their connection.
    A few large requests are read at a time, half as many of one process; the others wait (see begun.py). A worker with
    more than UNREAD_BYTES_MAX of unread answers is disconnected at the next one.
    `complain(kind, message)` is told each time what a connection did wrong; it bounds what is logged.
    """

    def __init__(
        self, path: Path, handle: Handler, *, max_request_bytes: int, complain: Complain | None = None
    ) -> None:
        """Take the socket's path, in a directory of this user only, and what the class says.

        Raises ConfigurationError where the path is too long for a Unix socket.
        """
        self._path = path
        socket_address(path)
        # Open while it listens: the event loop, too, may look at the address that it is bound to.
        self._directory: Directory | None = None
        self._handle = handle
        self._complain = complain or _say_each
        self._max_request_bytes = min(max_request_bytes, FRAME_BYTES_MAX)
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._left = asyncio.Event()
        self._finishing = False
        self._identity: Identity | None = None
        self.begun = Begun(BEGUN_REQUESTS * self._max_request_bytes, self._complain)

    async def start(self) -> None:
        """Listen. A socket file that a dead node left behind is replaced.

        Raises LinkError where a live node listens on it, or where the path is something else; ReplicaError where
        the directory is not this user's alone.
        """
        directory = open_private(self._path.parent)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._remove_stale_file(directory)
            with directory.reached(self._path.name) as address:
                listener.bind(address)
            # Nobody can connect before listen(), so nobody ever finds the socket with other rights.
            directory.restrict(self._path.name)
            self._identity = directory.identity_of(self._path.name)
            self._server = await asyncio.get_running_loop().create_unix_server(
                lambda: _Connection(
                    self._handle, self._complain, self._max_request_bytes, self._made, self._lost, self.begun
                ),
                sock=listener,
                backlog=BACKLOG,
            )
        except BaseException:
            listener.close()
            directory.close()
            raise
        self._directory = directory

    def lost(self) -> bool:
        """Whether nobody can connect any more: somebody removed or replaced the socket file."""
        return self._identity is not None and not is_still(self._path, self._identity)

    async def close(self, *, patience_s: float = 0.0) -> None:
        """Stop listening, end all connections and remove the socket file.

        patience_s: how long to answer what was sent before. What a worker sends from now on is not read: its system
        call fails, and so it knows that nobody has seen the request.
        """
        if self._server is None or self._directory is None:
            return
        own, self._identity = self._identity, None
        if self._directory.identity_of(self._path.name) == own:
            self._directory.remove(self._path.name)
        if patience_s:
            self._finishing = True
            await asyncio.sleep(0)  # accept those who have connected already
        self._server.close()
        if patience_s:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_answered(), patience_s)
        for connection in tuple(self._connections):
            # Not close(): that would wait for a worker that does not read its answers.
            connection.abort()
        await self._server.wait_closed()
        self._server = None
        self._directory.close()

    async def _all_answered(self) -> None:
        for connection in tuple(self._connections):
            connection.finish()
        while self._connections:
            self._left.clear()
            await self._left.wait()

    def _made(self, connection: _Connection) -> None:
        self._connections.add(connection)
        if self._finishing:
            connection.finish()

    def _lost(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        self._left.set()

    def _remove_stale_file(self, directory: Directory) -> None:
        name = self._path.name
        found = directory.look(name)
        if found is None:
            return
        if not stat.S_ISSOCK(found.st_mode):
            raise LinkError(f"{self._path} is in the way of the node's socket and is no socket.")
        directory.ensure_own(name, stat.S_IFSOCK)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                with directory.reached(name) as address:
                    probe.connect(address)
            except ConnectionRefusedError:
                directory.remove(name)
                return
            except BlockingIOError:
                # Its backlog is full: somebody listens.
                pass
        raise LinkError(f"Another node listens on {self._path}.")


class _Connection(Framed):
    def __init__(
        self,
        handle: Handler,
        complain: Complain,
        max_request_bytes: int,
        made: Callable[[_Connection], None],
        lost: Callable[[_Connection], None],
        begun: Begun,
    ) -> None:
        self._handle = handle
        self._complain = complain
        self._frames = FrameReader(max_request_bytes)
        self._max_request_bytes = max_request_bytes
        self._made = made
        self._lost = lost
        self._begun = begun
        # Bytes of the request that has arrived in part; 0 where there is none.
        self._begun_size = 0
        self.process = 0
        self._unanswered = 0
        self._finishing = self._read_all = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        connection = transport.get_extra_info("socket")
        uid = peer_uid(connection)
        if uid != os.geteuid():
            self._complain("user", f"A process of user {uid} tried to connect; only user {os.geteuid()} may.")
            transport.abort()
            return
        self.process = peer_pid(connection)
        self._transport = transport
        self._made(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._transport = None
        self._lost(self)
        if self._begun_size:
            self._begun.ends(self)

    def all_received(self) -> None:
        size = max(self._frames.begun, 1) if self._frames.waiting else 0
        if size == self._begun_size:
            return
        if self._begun_size:
            self._begun.ends(self)  # only a part of the length itself had arrived
        self._begun_size = size
        if size:
            self._begun.begins(self, size)

    def payload_received(self, payload: bytes | Oversize) -> None:
        if self._begun_size:
            self._begun_size = 0
            self._begun.ends(self)
        self._unanswered += 1
        if isinstance(payload, Oversize):
            self.reply(too_large(payload, self._max_request_bytes))
        else:
            # A new bound method for each request: one that is kept would be a cycle, and keep the connection's memory
            # until the collector runs, which on a quiet node is never.
            self._handle(pb.CacheRequest.FromString(payload), self.reply)

    def broken(self, error: Exception) -> None:
        self._complain("bytes", f"A worker sent bytes that are no request and was disconnected: {error}")
        self.abort()

    def finish(self) -> None:
        """Read what was sent before this moment, answer it and close."""
        if self._transport is None:
            return
        self._finishing = True
        # A second descriptor of the same socket: event loops do not let theirs be shut down for reading.
        descriptor = os.dup(self._transport.get_extra_info("socket").fileno())
        with socket.socket(fileno=descriptor) as same:
            same.shutdown(socket.SHUT_RD)

    def eof_received(self) -> bool:
        """Return whether to keep the connection: one that finishes stays for the answers that are due."""
        self._read_all = self._finishing
        return self._finishing and self._unanswered > 0

    def reply(self, ack: pb.Ack | None) -> None:
        self._unanswered -= 1
        transport = self._transport
        if transport is None:
            return
        if ack is not None:
            self._write(transport, ack)
        if self._read_all and not self._unanswered:
            transport.close()

    def _write(self, transport: asyncio.Transport, ack: pb.Ack) -> None:
        if transport.get_write_buffer_size() > UNREAD_BYTES_MAX:
            self._complain("unread", "A worker does not read its answers and was disconnected.")
            self.abort()
            return
        transport.write(frame(ack.SerializeToString()))

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None


def _say_each(reason: str, message: str) -> None:  # noqa: ARG001 - whoever bounds what is said needs it
    logger.warning("%s", message)


def too_large(length: int, limit: int) -> pb.Ack:
    """Return the answer to a request that is refused unread."""
    return pb.Ack(
        error=pb.Error(
            error=f"A request of {length} bytes is larger than the {limit} bytes that this node accepts.",
            code=pb.ERROR_TOO_LARGE,
        )
    )
