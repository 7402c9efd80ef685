"""One request and its answer, free of sockets: what to send, whether an answer counts, what to do after a loss.

After a loss the client connects anew and sends the same request, with the same req_id, again: the node remembers the
req_ids that it has seen, so the change takes effect once. The client tells the exchange what has happened, and the
exchange says what to do. Knows the wire; must not open or wait for anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from django_hacache.exceptions import CacheUnavailable, LinkError, OutcomeUnknown
from django_hacache.link.lost import Lost, in_vain, lost
from django_hacache.link.request import Request
from django_hacache.link.watch import Hung
from django_hacache.system.interruption import ensure_own
from django_hacache.system.platform import monotonic
from django_hacache.system.printable import printable
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Pauses between attempts, doubling (seconds).
PAUSE_MIN_S = 0.01
PAUSE_MAX_S = 0.05

# The errors of a node that did not apply the change, for all that this node knows.
NOT_APPLIED = frozenset({pb.ERROR_NO_QUORUM, pb.ERROR_NOT_LEADER, pb.ERROR_BUSY, pb.ERROR_UNKNOWN_CACHE})

# What nearly every answer is: a put_ack or del_ack that says nothing but that the change took effect.
SUCCESS = pb.Ack(put_ack=pb.PutAck(mod_res=True))
# As bytes, around the 32 characters of a worker's req_id. A test compares them with the messages.
_PUT, _DELETED, _TOOK_EFFECT = b"\x12$\n ", b"\x1a$\n ", b"\x10\x01"
_SUCCESSES, _NAME_AT, _SUCCESS_BYTES = (_PUT, _DELETED), 4, 38


class Exchange:
    """A request on its way to the node.

    deadline: when to give up, as monotonic() tells the time (seconds).
    since: the log index that the host had applied before, and in which generation; (0, 0) where nobody knows. What is
    sent again carries it: the node refuses where it may have forgotten since then what became of the first.
    """

    __slots__ = (
        "_cause",
        "_pause_s",
        "_sent",
        "_since",
        "deadline",
        "payload",
        "req_id",
        "resent",
    )

    def __init__(
        self, request: Request | pb.CacheRequest, *, deadline: float, since: tuple[int, int] = (0, 0)
    ) -> None:
        self._since = since
        self._pause_s = PAUSE_MIN_S
        self._cause: Exception | None = None
        self._sent = False
        self.deadline = deadline
        self.req_id, self.payload = request if isinstance(request, Request) else request_of_message(request)
        self.resent = False
        """Whether the node may have seen it before."""

    def sent(self) -> None:
        """Note that the whole request is on its way."""
        self._sent = True

    def answer(self, payload: bytes) -> pb.Ack:
        """Return the answer that a payload is, on a connection with no other request. Raises Lost where it is none."""
        if succeeded(payload) == self.req_id:
            return SUCCESS
        ack = ack_of(payload)
        if not answers(ack, self.req_id):
            raise lost(LinkError("The node answered another request."))
        return ack

    def retry_pause_s(self, error: Exception, path: Path, gone: Callable[[], bool]) -> float:
        """Return after how many seconds to try again, now that `error` has ended an attempt.

        gone: asked where nobody listens there; whether nobody is to be expected until the deadline.
        Raises CacheUnavailable where no complete request was sent, OutcomeUnknown where one was: at the deadline, or as
        soon as the node is gone, or found to hang.
        """
        remaining = self.deadline - monotonic()
        # Keep what went wrong before: it says more than that the time is over.
        self._cause = cause = (self._cause or error) if isinstance(error, TimeoutError) else error
        if isinstance(error, Hung) or in_vain(error, gone) or remaining <= 0:
            raise self._given_up(path, cause) from cause
        if self._sent and not self.resent:
            self.resent = True
            index, generation = self._since
            # Messages are put together by putting their bytes together.
            since = pb.CacheRequest(since_index=max(index, 1), since_generation=generation)
            self.payload += since.SerializeToString()
        pause, self._pause_s = self._pause_s, min(2 * self._pause_s, PAUSE_MAX_S)
        return min(pause, remaining)

    def ensure_conclusive(self, ack: pb.Ack) -> pb.Ack:
        """Return the answer. Raises OutcomeUnknown where it refuses a request that was sent before.

        1. the request is sent to a node, which forwards it and is killed; 2. the next node refuses the second one, and
        does not know about the first, which may still take effect.
        """
        if self.resent and ack.error.code in NOT_APPLIED:
            raise OutcomeUnknown(
                f"The request was sent before, it may have happened then. Now: {printable(ack.error.error)}"
            )
        return ack

    def _given_up(self, path: Path, cause: Exception) -> CacheUnavailable:
        if self._sent:
            return OutcomeUnknown(f"The node at {path} did not answer in time ({cause}).")
        return CacheUnavailable(f"The node at {path} could not be reached in time ({cause}).")


def succeeded(payload: bytes) -> str | None:
    """The name of the request of which `payload` says that it took effect, and no more; None for any other answer."""
    if len(payload) == _SUCCESS_BYTES and payload.startswith(_SUCCESSES) and payload.endswith(_TOOK_EFFECT):
        return payload[_NAME_AT:-2].decode("latin-1")
    return None


def ack_of(payload: bytes) -> pb.Ack:
    """Return the answer that a payload is. Raises Lost where it is none."""
    try:
        return pb.Ack.FromString(payload)
    except DecodeError as error:
        ensure_own(error)
        raise Lost from LinkError(f"The node's answer does not parse: {error}")


def request_of_message(message: pb.CacheRequest) -> Request:
    return Request(req_id_of(message), message.SerializeToString())


def req_id_of(message: pb.CacheRequest | pb.Ack) -> str:
    """Return the req_id of a request, or of the request that is answered; empty where there is none."""
    method = message.WhichOneof("method")
    # Every message with a req_id has it in the field of that name.
    return getattr(getattr(message, method), "req_id", "") if method else ""


def unnamed_refusal(ack: pb.Ack) -> bool:
    """Whether the node refuses a frame over its limit: it has skipped the frame, and does not know the req_id."""
    return ack.error.code == pb.ERROR_TOO_LARGE and not ack.error.req_id


def answers(ack: pb.Ack, req_id: str) -> bool:
    """Whether `ack` answers the one request that is under way on its connection."""
    return req_id_of(ack) == req_id or unnamed_refusal(ack)
