"""The client of a thread: one request, one answer, one connection. Knows nothing of what requests mean."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from django_hacache.exceptions import CacheUnavailable, LinkError, OutcomeUnknown
from django_hacache.link.address import socket_address
from django_hacache.link.framing import HEADER, frame, payload_length
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from pathlib import Path

# Pauses between attempts to connect, doubling (seconds).
PAUSE_MIN_S = 0.01
PAUSE_MAX_S = 0.2

# Answers are small; one that does not fit gets a buffer of its own.
RECEIVE_BYTES = 64 * 1024

# Up to here one copy is cheaper than a second system call.
COPY_BYTES_MAX = 64 * 1024

# What a node answers where a change did not happen, for all it knows.
UNDONE = frozenset({pb.ERROR_NO_QUORUM, pb.ERROR_NOT_LEADER, pb.ERROR_BUSY})


class NodeClient:
    """A blocking connection to the node of this host, made when it is first needed. For one thread."""

    __slots__ = ("_address", "_buffer", "_socket", "_view")

    def __init__(self, path: Path) -> None:
        """Take the path of the node's socket. Raises ConfigurationError where it is too long."""
        self._socket: socket.socket | None = None
        self._address = socket_address(path)
        self._buffer = bytearray(RECEIVE_BYTES)
        self._view = memoryview(self._buffer)

    def request(self, request: pb.CacheRequest, *, deadline: float, since: int = 1) -> pb.Ack:
        """Send a request and return the node's answer.

        A connection that breaks is made again and the same request, with the same req_id, is sent again:
        the node remembers the req_ids it has seen, so the change takes effect once.

        deadline: when to give up, as time.monotonic() tells the time (seconds).
        since: the log index that the host had applied before. What is sent again carries it: the node refuses
        where it may have forgotten since then what became of the first.
        Raises CacheUnavailable where no complete request was sent, OutcomeUnknown where one was and no
        answer came, or the answer to a later one is that it did not happen.
        """
        payload = request.SerializeToString()
        sent = False
        pause = PAUSE_MIN_S
        cause: Exception | None = None
        while True:
            again = sent
            if again and not request.since_index:
                request.since_index = since
                payload = request.SerializeToString()
            try:
                self._send(payload, deadline)
                sent = True
                ack = self._receive(deadline)
            except (OSError, LinkError) as error:
                # The answer that may still come belongs to no later request: this connection is done.
                self.close()
                remaining = deadline - time.monotonic()
                # That the time is over says less than what went wrong before.
                cause = (cause or error) if isinstance(error, TimeoutError) else error
                if remaining <= 0:
                    raise _given_up(self._address, cause, sent=sent) from cause
            except BaseException:
                self.close()
                raise
            else:
                return certain(ack) if again else ack
            time.sleep(min(pause, remaining))
            pause = min(2 * pause, PAUSE_MAX_S)

    def close(self) -> None:
        """Close the connection; the next request makes a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __del__(self) -> None:
        # The thread that owned it has ended.
        self.close()

    def _send(self, payload: bytes, deadline: float) -> None:
        connection = self._socket
        if connection is None:
            connection = self._connect(deadline)
        else:
            connection.settimeout(_remaining(deadline))
            # A node that restarted has closed this connection: on a Unix socket the send says so at once,
            # and nobody has seen the request.
            try:
                _send_frame(connection, payload)
            except (BrokenPipeError, ConnectionResetError):
                self.close()
                connection = self._connect(deadline)
            else:
                return
        _send_frame(connection, payload)

    def _connect(self, deadline: float) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket = connection
        connection.settimeout(_remaining(deadline))
        connection.connect(self._address)
        return connection

    def _receive(self, deadline: float) -> pb.Ack:
        connection = self._socket
        assert connection is not None
        connection.settimeout(_remaining(deadline))
        received = connection.recv_into(self._buffer)
        while received < HEADER.size:
            received += self._receive_more(self._view, received, deadline)
        end = HEADER.size + payload_length(self._buffer)
        view = self._view
        if end > len(view):
            view = memoryview(bytearray(end))
            view[:received] = self._view[:received]
        while received < end:
            received += self._receive_more(view[:end], received, deadline)
        if received > end:
            raise LinkError("The node sent more than the answer to the one request.")
        try:
            return pb.Ack.FromString(bytes(view[HEADER.size : end]))
        except DecodeError as error:
            raise LinkError(f"The node's answer does not parse: {error}") from error

    def _receive_more(self, view: memoryview, received: int, deadline: float) -> int:
        connection = self._socket
        assert connection is not None
        if received == 0:
            raise ConnectionResetError("The node closed the connection.")
        connection.settimeout(_remaining(deadline))
        count = connection.recv_into(view[received:])
        if count == 0:
            raise ConnectionResetError("The node closed the connection in the middle of an answer.")
        return count


def _remaining(deadline: float) -> float:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError("The deadline has passed.")
    return remaining


def _send_frame(connection: socket.socket, payload: bytes) -> None:
    if len(payload) <= COPY_BYTES_MAX:
        connection.sendall(frame(payload))
    else:
        connection.sendall(HEADER.pack(len(payload)))
        connection.sendall(payload)


def certain(ack: pb.Ack) -> pb.Ack:
    """Return the answer to a request that was sent before. Raises OutcomeUnknown where it is a refusal.

    Who refuses it now speaks for itself: what became of the first one, on its way through another process, it
    does not know.
    """
    if ack.error.code in UNDONE:
        raise OutcomeUnknown(
            f"The request was sent before, it may have happened then. Now: {ack.error.error}"
        )
    return ack


def _given_up(address: str, error: Exception, *, sent: bool) -> CacheUnavailable:
    if sent:
        return OutcomeUnknown(f"The node at {address} did not answer in time ({error}).")
    return CacheUnavailable(f"The node at {address} could not be reached in time ({error}).")
