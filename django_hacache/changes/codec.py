"""Changes and outcomes as messages, and back: for the worker that sends them, and for the leader that carries them out.

Must not know sockets or streams.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

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
from django_hacache.link.exchange import SUCCESS
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


# Each kind of change: how it is written into its message, and read from it where it is carried out. What comes there is
# known to be possible, see node/requests/validation.py.


class _Form(NamedTuple):
    """How one kind of change stands on the wire."""

    field: str  # that holds the message, of a CacheRequest and of a Change
    message: type[Any]
    write: Callable[[Any, Any], None]
    read: Callable[[Any], Part]
    carries: str = ""  # the message's field with bytes of a value, where it has one


def _write_insert(message: pb.Insert, change: Insert) -> None:
    message.entry, message.value = change.key, change.value
    if change.ttl_ms is not None:
        message.ttl_ms = change.ttl_ms
    if change.when is not When.ALWAYS:
        message.condition = _CONDITIONS[change.when]
        message.expected_version = change.version
    if change.keep_ttl:
        message.keep_ttl = True


def _read_insert(message: pb.Insert) -> Insert:
    return Insert(
        message.entry,
        message.value,
        message.ttl_ms if message.HasField("ttl_ms") else None,
        _WHEN[message.condition],
        message.expected_version,
        message.keep_ttl,
    )


def _read_put(message: pb.Put) -> Insert:
    return Insert(message.entry, message.value, message.ttl_ms if message.HasField("ttl_ms") else None)


def _write_remove(message: pb.Remove, change: Remove) -> None:
    message.entry = change.key


def _read_remove(message: pb.Remove | pb.Del) -> Remove:
    return Remove(message.entry)


def _write_touch(message: pb.Touch, change: Touch) -> None:
    message.entry = change.key
    if change.ttl_ms is not None:
        message.ttl_ms = change.ttl_ms


def _read_touch(message: pb.Touch) -> Touch:
    return Touch(message.entry, message.ttl_ms if message.HasField("ttl_ms") else None)


def _write_increment(message: pb.Increment, change: Increment) -> None:
    message.entry, message.delta = change.key, integer_to_bytes(change.delta)


def _read_increment(message: pb.Increment) -> Increment:
    return Increment(message.entry, integer_from_bytes(message.delta))


def _write_clear(_message: pb.Clear, _change: Clear) -> None:
    """It has nothing but the name of its cache."""


def _read_clear(_message: pb.Clear) -> Clear:
    return Clear()


_FORMS: dict[type[Any], _Form] = {
    Insert: _Form("insert", pb.Insert, _write_insert, _read_insert, "value"),
    Remove: _Form("remove", pb.Remove, _write_remove, _read_remove),
    Touch: _Form("touch", pb.Touch, _write_touch, _read_touch),
    Increment: _Form("increment", pb.Increment, _write_increment, _read_increment, "delta"),
    Clear: _Form("clear", pb.Clear, _write_clear, _read_clear),
}
# Programs of the base schema send Put and Del.
_READERS = {form.message: form.read for form in _FORMS.values()} | {pb.Put: _read_put, pb.Del: _read_remove}
_CARRIES = {form.message: form.carries for form in _FORMS.values()} | {pb.Put: "value", pb.Del: ""}

CHANGE_FIELDS = frozenset({form.field for form in _FORMS.values()} | {"put", "del", "batch"})
"""The fields of a CacheRequest that hold changes."""


def request_of(change: Sent, cache: str, *, req_id: str, ack: AckLevel, timeout_ms: int) -> pb.CacheRequest:
    """Return the request that carries `change`. timeout_ms: how long the caller waits. See prepared.py, too."""
    request = pb.CacheRequest(timeout_ms=timeout_ms)
    if isinstance(change, Batch):
        message: Any = request.batch
        for part in change.changes:
            _write(message.changes.add(), part, cache)
    else:
        message = _write(request, change, cache)
    message.req_id = req_id
    message.ack_level.CopyFrom(_ACK_LEVELS[ack])
    return request


def _write(holder: pb.CacheRequest | pb.Change, change: Part, cache: str) -> Any:
    """Fill the message in place: one that is copied into another has its value copied."""
    form = _FORMS[type(change)]
    message = getattr(holder, form.field)
    message.cache_name = cache
    form.write(message, change)
    return message


def change_from(message: Any) -> Part:
    """Return the change that a message of any kind but Batch is."""
    return _READERS[type(message)](message)


def carried_bytes(message: Any) -> int:
    """Return how many bytes of a value the message of a change carries: what is to be stored, or a delta."""
    field = _CARRIES[type(message)]
    return len(getattr(message, field)) if field else 0


# Outcomes: as a node answers them, and as they stand in the log


def outcome_of(ack: pb.Ack) -> Outcome:
    """Return what the node's answer says.

    Raises ValueTooLarge, CacheUnavailable (CacheBusy, OutcomeUnknown, UnknownCache) or RequestRefused where it is an
    error.
    """
    if ack is SUCCESS:
        return DONE
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


def outcome_bytes(outcomes: Sequence[Outcome]) -> bytes:
    """Return the outcomes of one request's changes as they stand in the log."""
    if len(outcomes) == 1 and outcomes[0] is DONE:
        return _DONE  # nearly all are
    message = pb.Outcome(
        mod_res=[outcome.effective for outcome in outcomes], reason=_REASONS[outcomes[-1].why]
    )
    for outcome in outcomes:
        if outcome.number is not None:
            message.value = integer_to_bytes(outcome.number)
    return message.SerializeToString()


_DONE = pb.Outcome(mod_res=[True]).SerializeToString()
