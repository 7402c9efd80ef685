"""Finds the change in a request, and makes the Ack that answers it."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError

from django_hacache.consensus import messages as core
from django_hacache.wire import cache_pb2 as pb

LEVELS = {
    "level_leader": core.AckLevel.LEADER,
    "level_once": core.AckLevel.ONCE,
    "level_quorum": core.AckLevel.QUORUM,
    "level_all": core.AckLevel.ALL,
}
UNLEVELLED = (pb.Put, pb.Del)
REFUSALS = {
    core.Refusal.NOT_LEADER: (pb.ERROR_NOT_LEADER, "this node does not lead"),
    core.Refusal.NO_QUORUM: (
        pb.ERROR_NO_QUORUM,
        "no quorum: no leader with a majority took the change in time; it did not happen",
    ),
    core.Refusal.OUTCOME_UNKNOWN: (
        pb.ERROR_OUTCOME_UNKNOWN,
        "the change was sent and not acknowledged in time: it may have happened or may still happen",
    ),
    core.Refusal.INVALID: (pb.ERROR_INVALID, "the change is invalid"),
    core.Refusal.UNKNOWN_CACHE: (pb.ERROR_UNKNOWN_CACHE, "the cache is unknown"),
    core.Refusal.TOO_LARGE: (pb.ERROR_TOO_LARGE, "the change is too large"),
    core.Refusal.BUSY: (
        pb.ERROR_BUSY,
        "busy: more is written than the nodes have room for at once; this change did not happen",
    ),
}
AROUND_BYTES = 64  # the names in a change, and what tells its fields apart
REMOVALS = frozenset({"del", "remove", "clear"})
DONE = pb.Outcome(mod_res=[True]).SerializeToString()  # what nearly every change comes to
CODES = {code: refusal for refusal, (code, _) in REFUSALS.items()}


def change_of(request: pb.CacheRequest) -> Any:
    """The change inside a request: Insert, Touch, ...; the request must hold one."""
    return getattr(request, str(request.WhichOneof("method")))


def level_of(change: Any) -> core.AckLevel | None:
    """The ack level of a change; None for one that is answered as soon as it is accepted."""
    if isinstance(change, UNLEVELLED):
        return None
    which = change.ack_level.WhichOneof("ack_level")
    return None if which == "level_direct" else LEVELS[which or "level_quorum"]


def outcome_of(request: pb.CacheRequest, stored: bytes) -> pb.Outcome | None:
    """What a change of this form came to; None where it is no outcome of one, whatever the leader stored there."""
    try:
        outcome = pb.Outcome.FromString(stored)
    except DecodeError:
        return None
    whole = request.WhichOneof("method") != "batch" or len(outcome.mod_res) == len(request.batch.changes)
    return outcome if whole else None


def size_of(request: pb.CacheRequest) -> int:
    """About how many bytes a change has. ByteSize is a serialization: slow where a value is large."""
    if request.HasField("insert"):
        change = request.insert
        return len(change.value) + len(change.entry) + AROUND_BYTES
    return request.ByteSize()


def ack_of(
    request: pb.CacheRequest, req_id: str, outcome: pb.Outcome, index: int = 0, term: int = 0
) -> pb.Ack:
    """The answer to a change, in the form that its kind has."""
    method = request.WhichOneof("method")
    if method == "batch":
        return pb.Ack(batch_ack=pb.BatchAck(req_id=req_id, mod_res=outcome.mod_res, index=index, term=term))
    took_effect = bool(outcome.mod_res and outcome.mod_res[0])
    ack = pb.Ack()
    if method in REMOVALS:
        answer: pb.PutAck | pb.DelAck = ack.del_ack
    else:
        answer = ack.put_ack
        answer.reason = outcome.reason
        if outcome.HasField("value"):
            answer.value = outcome.value
    answer.mod_res, answer.index, answer.term = took_effect, index, term
    if req_id:  # a Put that names none is answered without one
        answer.req_id = req_id
    return ack


def ack_of_stored(
    request: pb.CacheRequest, req_id: str, stored: bytes, index: int = 0, term: int = 0
) -> pb.Ack | None:
    """The same for an outcome as it stands in the log; None where it is none of a change of this form."""
    method = request.WhichOneof("method")
    if stored != DONE or method == "batch":
        outcome = outcome_of(request, stored)
        return None if outcome is None else ack_of(request, req_id, outcome, index, term)
    ack = pb.Ack()
    answer: pb.PutAck | pb.DelAck = ack.del_ack if method in REMOVALS else ack.put_ack
    answer.mod_res = True
    if index or term:
        answer.index, answer.term = index, term
    if req_id:  # a Put that names none is answered without one
        answer.req_id = req_id
    return ack


def refusal_ack(req_id: str, refusal: core.Refusal, reason: str = "") -> pb.Ack:
    """The answer to a change that was refused; `reason` says more than the refusal alone does."""
    code, text = REFUSALS[refusal]
    return pb.Ack(error=pb.Error(error=reason or text, req_id=req_id, code=code))
