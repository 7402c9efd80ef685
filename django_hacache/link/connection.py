"""One connection to the node, for one exchange at a time or for a pipeline. Must not know what a frame means.

It waits in one call and moves bytes in another. Moving never blocks, so an error of the connection cannot be mistaken
for one that a signal handler raises; an error out of a wait is the handler's, and reaches the caller as it is. It waits
by the module `select`, looked up when the connection is made: where gevent or eventlet have replaced that, other
greenlets run meanwhile.
"""

from __future__ import annotations

import _socket
import select
from functools import partial
from typing import TYPE_CHECKING

from django_hacache.exceptions import LinkError
from django_hacache.link.address import ensure_of_this_user, reached
from django_hacache.link.framing import HEADER, HEADER_BYTES, frame, payload_length
from django_hacache.link.lost import Lost
from django_hacache.link.watch import LOOK_S, Hung, Watch
from django_hacache.system.interruption import ensure_own
from django_hacache.system.platform import monotonic, peer_pid, ran_ns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Answers are small; a larger one gets a buffer of its own.
RECEIVE_BYTES = 64 * 1024

# Up to here one copy is cheaper than a second system call.
COPY_BYTES_MAX = 64 * 1024


class Connection:
    """Connects when it is made. Its owner makes one exchange at a time, and closes it after one that failed."""

    __slots__ = ("_buffer", "_socket", "_view", "_wait_readable", "_watch", "descriptor", "selects_by")

    def __init__(self, path: Path, alive_at: Callable[[], int]) -> None:
        """Raises Lost where no process of this user listens on the Unix socket, or too many wait to be accepted.

        alive_at: see Watch. Where the node hangs, send() and receive() raise Lost before the deadline.
        """
        self._socket = _connected(path)
        self._watch = Watch(alive_at, partial(ran_ns, peer_pid(self._socket)))
        self.descriptor = self._socket.fileno()
        self._buffer = bytearray(RECEIVE_BYTES)
        self._view = memoryview(self._buffer)
        # gevent and eventlet replace it: a connection from before would stop all greenlets.
        self.selects_by = select.select
        self._wait_readable = _waits_for(self.descriptor, writable=False)

    def send(self, payload: bytes, deadline: float) -> None:
        """Send one frame. Raises Lost; the node may have a part of the frame then, never the whole."""
        small = len(payload) <= COPY_BYTES_MAX
        part: bytes | memoryview
        for part in (frame(payload),) if small else (HEADER.pack(len(payload)), payload):
            count = self.send_some(part)
            while count < len(part):
                _wait(_waits_for(self.descriptor, writable=True), deadline, self._watch)
                part = memoryview(part)[count:]  # noqa: PLW2901 - what is left of it
                count = self.send_some(part)

    def send_some(self, data: bytes | memoryview) -> int:
        """Return how many bytes the socket takes now."""
        try:
            return self._socket.send(data)
        except OSError as error:
            ensure_own(error)
            if isinstance(error, BlockingIOError):
                return 0
            raise Lost from error

    def receive(self, deadline: float) -> bytes:
        """Return the payload of the one frame that the node sends. Raises Lost."""
        _wait(self._wait_readable, deadline, self._watch)
        view = self._view
        received = self._receive_into(view)
        if HEADER_BYTES < received == HEADER_BYTES + HEADER.unpack_from(view)[0]:
            return bytes(view[HEADER_BYTES:received])  # the ordinary case
        while received < HEADER_BYTES:
            received += self._receive_more(view[received:], deadline)
        end = HEADER_BYTES + _length_in(self._buffer)
        if end > len(view):
            larger = memoryview(bytearray(end))
            larger[:received] = view[:received]
            view = larger
        while received < end:
            received += self._receive_more(view[received:end], deadline)
        if received > end:
            raise Lost from LinkError("The node sent more than the answer to the one request.")
        return bytes(view[HEADER_BYTES:end])

    def receive_some(self) -> bytes:
        """Return what has come; nothing where there is nothing. Raises Lost."""
        return bytes(self._view[: self._receive_into(self._view)])

    def ready(self, *, writable: bool, seconds: float) -> bool:
        """Wait until it can be read, or written, for so long at most; return whether it can."""
        return bool(_waits_for(self.descriptor, writable=writable)(int(seconds * 1000) + 1))

    def hung(self) -> bool:
        """Whether the node hangs. To be called after each LOOK_S in which nothing came."""
        return self._watch.hung()

    def _receive_more(self, view: memoryview, deadline: float) -> int:
        _wait(self._wait_readable, deadline, self._watch)
        return self._receive_into(view)

    def _receive_into(self, view: memoryview) -> int:
        """Return how many bytes have come into `view`; 0 where the wait was in vain."""
        try:
            count = self._socket.recv_into(view)
        except OSError as error:
            ensure_own(error)
            if isinstance(error, BlockingIOError):
                return 0
            raise Lost from error
        if count == 0:
            raise Lost from ConnectionResetError("The node closed the connection.")
        return count

    def close(self) -> None:
        self._socket.close()


class _Socket(_socket.socket):
    """The plain socket: those of gevent and eventlet would wait inside a call. It closes itself in C."""

    __slots__ = ()
    __del__ = _socket.socket.close  # see interruption.py


def _connected(path: Path) -> _socket.socket:
    connection = None
    try:
        connection = _Socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        connection.setblocking(False)
        # A Unix socket connects at once or not at all; EAGAIN means that the node's backlog is full.
        with reached(path) as address:
            connection.connect(address)
        ensure_of_this_user(connection, path)
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, OSError):
            ensure_own(error)
            raise Lost from error
        raise
    return connection


def _length_in(header: bytearray) -> int:
    try:
        return payload_length(header)
    except LinkError as error:
        ensure_own(error)
        raise Lost from error


def _wait(wait: Callable[[int], object], deadline: float, watch: Watch) -> None:
    while True:
        remaining = deadline - monotonic()
        if remaining <= 0:
            raise Lost from TimeoutError("timed out")
        # Whole milliseconds: a fraction takes poll a microsecond to round.
        if wait(int(min(remaining, LOOK_S) * 1000) + 1):
            return
        if watch.hung():
            raise Lost from Hung()


def _waits_for(descriptor: int, *, writable: bool) -> Callable[[int], object]:
    """Return a function that waits for the descriptor, takes milliseconds, and returns a false value if in vain."""
    if not hasattr(select, "poll"):
        # eventlet leaves no other way.
        reading, writing = ([], [descriptor]) if writable else ([descriptor], [])
        return lambda milliseconds: any(select.select(reading, writing, [], milliseconds / 1000))
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT if writable else select.POLLIN)
    return poll.poll
