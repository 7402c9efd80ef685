"""Which answer belongs to which request, and what an answer is worth. Knows the wire, opens nothing."""

from __future__ import annotations

from django_hacache.exceptions import OutcomeUnknown
from django_hacache.system.printable import printable
from django_hacache.wire import cache_pb2 as pb

# What a node answers where a change did not happen, for all it knows.
UNDONE = frozenset({pb.ERROR_NO_QUORUM, pb.ERROR_NOT_LEADER, pb.ERROR_BUSY, pb.ERROR_UNKNOWN_CACHE})


def req_id_of_request(request: pb.CacheRequest) -> str:
    """The name that the answer will carry; empty for a request that has none, as one for the status."""
    return request.insert.req_id or _req_id(request)  # the most frequent first, for half the price


def req_id_of_ack(ack: pb.Ack) -> str:
    """The name of the request that is answered; empty where the answer does not say."""
    return _req_id(ack)


def _req_id(message: pb.CacheRequest | pb.Ack) -> str:
    method = message.WhichOneof("method")
    # Every message that has a name has it under this one; a status has none.
    return getattr(getattr(message, method), "req_id", "") if method else ""


def unnamed_refusal(ack: pb.Ack) -> bool:
    """Whether a frame over the node's limit is refused: skipped without a look inside, so it cannot be named."""
    return ack.error.code == pb.ERROR_TOO_LARGE and not ack.error.req_id


def answers(ack: pb.Ack, req_id: str) -> bool:
    """Whether `ack` answers the one request that is under way on its connection."""
    if req_id and ack.put_ack.req_id == req_id:
        return True
    return req_id_of_ack(ack) == req_id or unnamed_refusal(ack)


def certain(ack: pb.Ack) -> pb.Ack:
    """Return the answer to a request that was sent before. Raises OutcomeUnknown where it is a refusal.

    Who refuses it now speaks for itself: what became of the first one, on its way through another process, it
    does not know.
    """
    if ack.error.code in UNDONE:
        raise OutcomeUnknown(
            f"The request was sent before, it may have happened then. Now: {printable(ack.error.error)}"
        )
    return ack
