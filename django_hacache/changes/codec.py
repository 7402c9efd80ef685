"""Changes and outcomes as messages, and back: at the worker's end of the way, and where they are carried out.

Knows the wire, not how it is travelled.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, assert_never

from django_hacache.changes.outcome import ABSENT, DONE, Outcome, Why
from django_hacache.changes.vocabulary import Batch, Clear, Increment, Insert, Remove, Touch, When
from django_hacache.conf import AckLevel
from django_hacache.exceptions import (
    CacheBusy,
    CacheUnavailable,
    OutcomeUnknown,
    RequestRefused,
    UnknownCache,
    ValueTooLarge,
)
from django_hacache.system.platform import monotonic
from django_hacache.system.printable import printable
from django_hacache.values.serializers import integer_from_bytes, integer_to_bytes
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django_hacache.changes.vocabulary import Sent

    Part = Insert | Remove | Touch | Increment | Clear

_ACK_LEVELS = {
    AckLevel.DIRECT: pb.AckLevel(level_direct=pb.Empty()),
    AckLevel.LEADER: pb.AckLevel(level_leader=pb.Empty()),
    AckLevel.ONCE: pb.AckLevel(level_once=pb.Empty()),
    AckLevel.QUORUM: pb.AckLevel(level_quorum=pb.Empty()),
    AckLevel.ALL: pb.AckLevel(level_all=pb.Empty()),
}

_CONDITIONS = {
    When.ALWAYS: pb.CONDITION_ALWAYS,
    When.ABSENT: pb.CONDITION_ABSENT,
    When.PRESENT: pb.CONDITION_PRESENT,
    When.UNCHANGED: pb.CONDITION_UNCHANGED,
}

_WHEN = {condition: when for when, condition in _CONDITIONS.items()}

_REASONS = {
    None: pb.REASON_NONE,
    Why.ABSENT: pb.REASON_ABSENT,
    Why.PRESENT: pb.REASON_PRESENT,
    Why.CHANGED: pb.REASON_CHANGED,
    Why.NOT_AN_INTEGER: pb.REASON_NOT_AN_INTEGER,
}
_WHY = {reason: why for why, reason in _REASONS.items()}

_ERRORS: dict[int, type[Exception]] = {
    pb.ERROR_UNKNOWN_CACHE: UnknownCache,
    pb.ERROR_TOO_LARGE: ValueTooLarge,
    pb.ERROR_NO_QUORUM: CacheUnavailable,
    pb.ERROR_NOT_LEADER: CacheUnavailable,
    pb.ERROR_BUSY: CacheBusy,
    pb.ERROR_OUTCOME_UNKNOWN: OutcomeUnknown,
}


# The worker's end


def request_of(change: Sent, cache: str, *, ack: AckLevel, deadline: float) -> pb.CacheRequest:
    """Return the request that carries `change`, with a req_id of its own.

    deadline: until when the caller waits, as platform.monotonic() tells the time (seconds).
    """
    request = pb.CacheRequest(timeout_ms=max(1, math.ceil((deadline - monotonic()) * 1000)))
    req_id = os.urandom(16).hex()
    level = _ACK_LEVELS[ack]
    match change:
        case Insert():
            # Filled in place: a message that is copied into another one has its value copied.
            _fill_insert(request.insert, change, cache)
            request.insert.req_id = req_id
            request.insert.ack_level.CopyFrom(level)
        case Remove():
            request.remove.CopyFrom(
                pb.Remove(cache_name=cache, entry=change.key, req_id=req_id, ack_level=level)
            )
        case Touch():
            request.touch.CopyFrom(
                pb.Touch(
                    cache_name=cache, entry=change.key, ttl_ms=change.ttl_ms, req_id=req_id, ack_level=level
                )
            )
        case Increment():
            request.increment.CopyFrom(
                pb.Increment(
                    cache_name=cache,
                    entry=change.key,
                    delta=integer_to_bytes(change.delta),
                    req_id=req_id,
                    ack_level=level,
                )
            )
        case Clear():
            request.clear.CopyFrom(pb.Clear(cache_name=cache, req_id=req_id, ack_level=level))
        case Batch():
            request.batch.req_id = req_id
            request.batch.ack_level.CopyFrom(level)
            for part in change.changes:
                _fill_part(request.batch.changes.add(), part, cache)
        case _:
            assert_never(change)
    return request


def _fill_part(part: pb.Change, change: Insert | Remove, cache: str) -> None:
    if isinstance(change, Insert):
        _fill_insert(part.insert, change, cache)
    else:
        part.remove.cache_name, part.remove.entry = cache, change.key


def _fill_insert(message: pb.Insert, change: Insert, cache: str) -> None:
    message.cache_name, message.entry, message.value = cache, change.key, change.value
    if change.ttl_ms is not None:
        message.ttl_ms = change.ttl_ms
    if change.when is not When.ALWAYS:
        message.condition = _CONDITIONS[change.when]
        message.expected_version = change.version
    if change.keep_ttl:
        message.keep_ttl = True


def outcome_of(ack: pb.Ack) -> Outcome:
    """Return what the node's answer says.

    Raises ValueTooLarge, CacheUnavailable (CacheBusy, OutcomeUnknown, UnknownCache) or RequestRefused where it is an
    error.
    """
    match ack.WhichOneof("method"):
        case "put_ack":
            answer = ack.put_ack
            number = integer_from_bytes(answer.value) if answer.HasField("value") else None
            return Outcome(answer.mod_res, number, _WHY.get(answer.reason))
        case "del_ack":
            return DONE if ack.del_ack.mod_res else ABSENT
        case "batch_ack":
            return Outcome(effective=True, each=tuple(ack.batch_ack.mod_res))
        case "error":
            raise _ERRORS.get(ack.error.code, RequestRefused)(printable(ack.error.error))
        case other:
            raise RequestRefused(f"The node answered a change with {other!r}.")


# The end of the node that carries a change out: what came is known to be possible, see node/validation.py.


def change_from(message: Any) -> Part:
    """Return the change that a message of any kind but Batch is."""
    return _READ_BY[type(message)](message)


def _insert_of(message: pb.Insert) -> Insert:
    return Insert(
        message.entry,
        message.value,
        message.ttl_ms if message.HasField("ttl_ms") else None,
        _WHEN[message.condition],
        message.expected_version,
        message.keep_ttl,
    )


def _put_of(message: pb.Put) -> Insert:
    return Insert(message.entry, message.value, message.ttl_ms if message.HasField("ttl_ms") else None)


def _removal_of(message: pb.Remove | pb.Del) -> Remove:
    return Remove(message.entry)


def _touch_of(message: pb.Touch) -> Touch:
    return Touch(message.entry, message.ttl_ms if message.HasField("ttl_ms") else None)


def _increment_of(message: pb.Increment) -> Increment:
    return Increment(message.entry, integer_from_bytes(message.delta))


def _clear_of(_message: pb.Clear) -> Clear:
    return Clear()


def outcome_bytes(outcomes: Sequence[Outcome]) -> bytes:
    """What the changes of one request came to, as it stands in the log."""
    if len(outcomes) == 1 and outcomes[0] is DONE:
        return _DONE  # as nearly all
    message = pb.Outcome(
        mod_res=[outcome.effective for outcome in outcomes], reason=_REASONS[outcomes[-1].why]
    )
    for outcome in outcomes:
        if outcome.number is not None:
            message.value = integer_to_bytes(outcome.number)
    return message.SerializeToString()


_DONE = pb.Outcome(mod_res=[True]).SerializeToString()

_READ_BY: dict[type[Any], Callable[[Any], Part]] = {
    pb.Insert: _insert_of,
    pb.Put: _put_of,
    pb.Remove: _removal_of,
    pb.Del: _removal_of,
    pb.Touch: _touch_of,
    pb.Increment: _increment_of,
    pb.Clear: _clear_of,
}
