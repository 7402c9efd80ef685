"""One connection of an event loop to the node: many requests in flight on it, answers matched by req_id.

It uses the socket itself and no transport of asyncio: a loop may end without warning (each async_to_sync call may bring
one of its own), and a transport cannot be closed without its loop.
"""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import TYPE_CHECKING

from django_hacache.exceptions import LinkError
from django_hacache.link.address import ensure_of_this_user, reached
from django_hacache.link.connection import RECEIVE_BYTES
from django_hacache.link.exchange import SUCCESS, ack_of, req_id_of, succeeded, unnamed_refusal
from django_hacache.link.framing import FRAME_BYTES_MAX, FrameReader
from django_hacache.link.lost import Lost, lost
from django_hacache.link.watch import LOOK_S, Hung, Watch
from django_hacache.system.interruption import ensure_own
from django_hacache.system.platform import peer_pid, ran_ns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django_hacache.wire import cache_pb2 as pb


class _InFlight:
    __slots__ = ("answer", "size")

    def __init__(self, answer: asyncio.Future[pb.Ack], size: int) -> None:
        self.answer = answer
        self.size = size


class Connection:
    __slots__ = (
        "_frames",
        "_look",
        "_loop",
        "_room_comes",
        "_sending",
        "_watch",
        "in_flight",
        "lost",
        "socket",
        "takes_no_more",
    )

    def __init__(self, path: Path, alive_at: Callable[[], int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._frames = FrameReader(FRAME_BYTES_MAX)
        self._sending = asyncio.Lock()
        self._look: asyncio.TimerHandle | None = None
        # Done when the socket takes more of a frame that it did not take at once.
        self._room_comes: asyncio.Future[None] | None = None
        # A request that was given up stays here until its answer comes: see _answer().
        self.in_flight: dict[str, _InFlight] = {}
        self.lost = False
        # The node stops: it answers the requests that it has, and takes no more.
        self.takes_no_more = False
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        try:
            # A Unix socket connects at once or not at all; EAGAIN means that the node's backlog is full.
            with reached(path) as address:
                self.socket.connect(address)
            ensure_of_this_user(self.socket, path)
            self._watch = Watch(alive_at, partial(ran_ns, peer_pid(self.socket)))
            self._loop.add_reader(self.socket, self._readable)
        except BaseException as error:
            self._loop.remove_reader(self.socket)
            self.socket.close()
            if isinstance(error, OSError):
                ensure_own(error)
                raise Lost from error
            raise

    async def send(self, req_id: str, data: bytes) -> asyncio.Future[pb.Ack]:
        """Send a frame and return the future of its answer; waits while earlier frames are on their way."""
        async with self._sending:
            if self.lost:
                raise lost("The connection was lost.")
            answer: asyncio.Future[pb.Ack] = self._loop.create_future()
            self.in_flight[req_id] = _InFlight(answer, len(data))
            if self._look is None:
                self._look = self._loop.call_later(LOOK_S, self._looks)
            try:
                await self._send_all(data)
            except BaseException as error:
                # The connection may be lost already, and the request be gone with it.
                self.in_flight.pop(req_id, None)
                if isinstance(error, Lost) and isinstance(error.__cause__, BrokenPipeError):
                    self.takes_no_more = True
                    raise
                # Half a frame may be out: nothing can follow it.
                if not answer.cancel():
                    answer.exception()
                self.lose(error if isinstance(error, Lost) else lost("A send was cut off."))
                raise
            return answer

    async def _send_all(self, data: bytes) -> None:
        try:
            count = self._send_some(data)
            left = memoryview(data)
            while count < len(left):
                left = left[count:]
                await self._room()
                count = self._send_some(left)
        except OSError as error:
            ensure_own(error)
            raise Lost from error

    async def _room(self) -> None:
        """Wait until the socket takes more. Raises Lost where the connection is lost meanwhile, see lose()."""
        self._room_comes = room = self._loop.create_future()
        self._loop.add_writer(self.socket, self._writable, room)
        try:
            await room
        finally:
            self._room_comes = None
            if not self.lost:
                self._loop.remove_writer(self.socket)

    def _send_some(self, data: bytes | memoryview) -> int:
        """Return how many bytes the socket takes now."""
        try:
            return self.socket.send(data)
        except BlockingIOError as error:
            ensure_own(error)
            return 0

    def _looks(self) -> None:
        """Look for a sign of life of the node: while answers are due, and once more."""
        self._look = None
        if not self.in_flight:
            return
        try:
            if self._watch.hung():
                self.lose(lost(Hung()))
            else:
                self._look = self._loop.call_later(LOOK_S, self._looks)
        except BaseException as error:  # noqa: BLE001 - it is handed on
            self._interrupted(error)

    def lose(self, error: Lost) -> None:
        if self.lost:
            return
        self.lost = True
        if self._look is not None:
            self._look.cancel()
        self._loop.remove_reader(self.socket)
        self._loop.remove_writer(self.socket)
        self.socket.close()
        if self._room_comes is not None and not self._room_comes.done():
            # A sender in the middle of a frame waits for this, and not yet for its answer.
            self._room_comes.set_exception(error)
        waiting, self.in_flight = self.in_flight, {}
        for request in waiting.values():
            if not request.answer.done():
                request.answer.set_exception(error)

    def _readable(self) -> None:
        try:
            self._receive()
        except Lost as error:
            self.lose(error)
        except BaseException as error:  # noqa: BLE001 - it is handed on
            self._interrupted(error)

    def _writable(self, room: asyncio.Future[None]) -> None:
        try:
            if not room.done():
                room.set_result(None)
        except BaseException as error:  # noqa: BLE001 - it is handed on
            self._interrupted(error)

    def _receive(self) -> None:
        try:
            data = self.socket.recv(RECEIVE_BYTES)
        except OSError as error:
            ensure_own(error)
            if isinstance(error, BlockingIOError):
                return
            raise Lost from error
        if not data:
            raise lost("The node closed the connection.")
        try:
            for payload in self._frames.feed(data):
                assert isinstance(payload, bytes)
                self._answer(payload)
        except LinkError as error:
            ensure_own(error)
            raise Lost from error

    def _interrupted(self, error: BaseException) -> None:
        """Hand `error`, which a signal handler has raised in a callback, to the request that has waited longest.

        The loop would only log it. The handler may have cut off the taking of an answer: all other requests are sent
        again.
        """
        waiting = next((one.answer for one in self.in_flight.values() if not one.answer.done()), None)
        if waiting is not None and isinstance(error, Exception):
            waiting.set_exception(error)
        self.lose(lost("A signal handler has interrupted an answer."))
        if waiting is None or not isinstance(error, Exception):
            raise error

    def _answer(self, payload: bytes) -> None:
        req_id, ack = succeeded(payload), SUCCESS
        if req_id is None:
            ack = ack_of(payload)
            req_id = req_id_of(ack)
            if unnamed_refusal(ack) and self.in_flight:
                # At least one request in flight is over the node's limit, so the largest one is.
                req_id = max(self.in_flight, key=lambda name: self.in_flight[name].size)
        request = self.in_flight.get(req_id)
        if request is not None:
            if not request.answer.done():
                request.answer.set_result(ack)
            del self.in_flight[req_id]  # last: see _interrupted
