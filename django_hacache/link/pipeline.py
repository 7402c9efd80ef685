"""Requests that are sent one after the other over one connection, and answered later.

A pipeline never waits: its steps are generators that yield what to wait for, and their caller waits in its own way. So
threads, greenlets and event loops can use one pipeline in turn. It holds its lock only while it moves bytes; a signal
handler that has interrupted that finds it locked by its own thread, and leaves it alone. Must not know what requests
mean, nor what becomes of their answers.
"""

from __future__ import annotations

from _thread import allocate_lock, get_ident
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from django_hacache.exceptions import LinkError
from django_hacache.link.exchange import SUCCESS, ack_of, req_id_of, succeeded, unnamed_refusal
from django_hacache.link.framing import FRAME_BYTES_MAX, FrameReader, frame
from django_hacache.link.lost import Lost, lost
from django_hacache.link.watch import LOOK_S, Hung
from django_hacache.system.interruption import ensure_own
from django_hacache.system.platform import monotonic

if TYPE_CHECKING:
    from django_hacache.link.connection import Connection
    from django_hacache.wire import cache_pb2 as pb

T = TypeVar("T")
R = TypeVar("R")

# How long to wait at first for an answer, which another thread may take meanwhile; then twice as long, up to LOOK_S.
FIRST_WAIT_S = 0.001


class Wait(NamedTuple):
    """What a step waits for: that the connection can be read or written, for so many seconds at most."""

    connection: Connection
    writable: bool
    seconds: float


# Yields what to wait for, is sent whether that came, and returns a result.
Waits = Generator[Wait, bool, R]


class Pipeline(Generic[T]):
    """Made for one process; after a fork the child abandons its copy."""

    def __init__(self, take: Callable[[], Connection], give_back: Callable[[Connection], None]) -> None:
        """Take what gives a connection, and what takes one back on which no answer is due. `take` raises Lost."""
        self._take = take
        self._give_back = give_back
        self._connection: Connection | None = None
        self._frames = FrameReader(FRAME_BYTES_MAX)
        # What the socket has not taken yet of a frame, and the req_id of the last frame that it was given.
        self._rest: memoryview | bytes = b""
        self._latest = ""
        self._lock = allocate_lock()
        # Which thread has the lock; 0 where none has, so that nobody takes another thread's for its own. It is noted
        # without a call in between, after which a signal handler might run: that would wait for the lock for ever.
        self._owner = 0
        # By req_id: the size of the request in bytes, and the item of its sender.
        self.unanswered: dict[str, tuple[int, T]] = {}

    def answered(self, item: T, ack: pb.Ack) -> None:
        """Called with the answer to a request, while the lock is held."""
        raise NotImplementedError

    def given_up(self, items: list[T], cause: Exception) -> None:
        """Called when these requests will have no answer, while the lock is held."""
        raise NotImplementedError

    def hand_over(self, name: str, payload: bytes, item: T, deadline: float) -> Waits[None]:
        """Send one request. Raises Lost where it could not be sent whole: then the node has not seen it."""
        data = frame(payload)
        while not self._send(name, data, item):
            yield from self._room(deadline)
        try:
            while self._rest and self._latest == name:
                yield from self._room(deadline)
                self.collect()
        except BaseException as error:
            self.unanswered.pop(name, None)
            self.lose(_cause(error))
            raise

    def settle(self, deadline: float) -> Waits[bool]:
        """Wait until every request has its answer, or will have none.

        Returns False where the deadline came first, and in a signal handler that has interrupted the pipeline.
        """
        seconds = FIRST_WAIT_S
        if self._is_interrupted():
            return False
        while self.collect():
            connection, remaining = self._connection, deadline - monotonic()
            if remaining <= 0:
                return False
            if connection is None:
                continue
            if (yield Wait(connection, bool(self._rest), min(seconds, remaining))):
                continue
            if seconds >= LOOK_S and connection.hung():
                self.lose(Hung())
            seconds = min(2 * seconds, LOOK_S)
        return True

    def collect(self) -> int:
        """Take the answers that have come; return how many are still due."""
        if not self.unanswered or self._is_interrupted():
            return len(self.unanswered)
        me = get_ident()
        with self._lock:
            self._owner = me
            try:
                if self._connection is not None:
                    self._send_rest(self._connection)
                    self._receive(self._connection)
            except Lost as error:
                self._lose(error.__cause__)
            except BaseException as error:
                self._lose(_cause(error))
                raise
            finally:
                self._owner = 0
        return len(self.unanswered)

    def lose(self, cause: Exception) -> None:
        """Give up the connection, and all requests that have no answer."""
        if self._is_interrupted():
            return
        me = get_ident()
        with self._lock:
            self._owner = me
            try:
                self._lose(cause)
            finally:
                self._owner = 0

    def close(self) -> None:
        """Give the connection back, where no answer is due on it."""
        if self._is_interrupted():
            return
        me = get_ident()
        with self._lock:
            self._owner = me
            try:
                connection = self._connection
                if connection is not None and not self.unanswered:
                    self._connection = None
                    self._give_back(connection)
            finally:
                self._owner = 0

    def abandon(self) -> None:
        """In a forked child: forget the parent's requests."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self.unanswered = {}

    def _is_interrupted(self) -> bool:
        """Whether the caller is a signal handler that has interrupted this thread while it holds the lock."""
        return self._owner == get_ident()

    def _send(self, name: str, data: bytes, item: T) -> bool:
        """Send what the socket takes of a request, and keep the rest, or return False while another one has a rest."""
        if self._is_interrupted():
            raise lost("A signal handler has interrupted another request.")
        me = get_ident()
        with self._lock:
            self._owner = me
            try:
                connection = self._connection
                if connection is None:
                    self._frames = FrameReader(FRAME_BYTES_MAX)
                    connection = self._connection = self._take()
                elif self._rest:
                    self._send_rest(connection)
                    if self._rest:
                        return False
                self.unanswered[name] = (len(data), item)
                self._rest, self._latest = data, name
                self._send_rest(connection)
            except BaseException as error:
                self.unanswered.pop(name, None)
                self._lose(_cause(error))
                raise
            finally:
                self._owner = 0
        return True

    def _send_rest(self, connection: Connection) -> None:
        rest = self._rest
        if rest:
            count = connection.send_some(rest)
            self._rest = memoryview(rest)[count:] if count < len(rest) else b""

    def _receive(self, connection: Connection) -> None:
        data = connection.receive_some()
        try:
            for payload in self._frames.feed(data) if data else ():
                assert isinstance(payload, bytes)
                self._take_answer(payload)
        except LinkError as error:
            ensure_own(error)
            raise Lost from error

    def _take_answer(self, payload: bytes) -> None:
        name, ack = succeeded(payload), SUCCESS
        if name is None:
            ack = ack_of(payload)
            name = req_id_of(ack)
            if unnamed_refusal(ack) and self.unanswered:
                # At least one request is over the node's limit, so the largest one is.
                name = max(self.unanswered, key=lambda one: self.unanswered[one][0])
        if name in self.unanswered:
            _, item = self.unanswered.pop(name)
            self.answered(item, ack)

    def _lose(self, cause: Exception) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        self._rest = b""
        items = [item for _, item in self.unanswered.values()]
        self.unanswered = {}
        if items:
            self.given_up(items, cause)

    def _room(self, deadline: float) -> Waits[None]:
        connection, remaining = self._connection, deadline - monotonic()
        if remaining <= 0:
            raise lost(TimeoutError("timed out"))
        if connection is None:
            return
        came = yield Wait(connection, True, min(LOOK_S, remaining))
        if not came and connection.hung():
            self.lose(Hung())
            raise lost(Hung())


def _cause(error: BaseException) -> Exception:
    if isinstance(error, Lost):
        return error.__cause__
    return ConnectionResetError(f"Interrupted by {type(error).__name__}.")
