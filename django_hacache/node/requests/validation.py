"""What a change may be, whoever asks for it: what passes here can be ordered, sent, stored and applied by every host.

Knows the wire's changes and their bounds, and nothing of what this node is configured to serve.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from django_hacache.changes.codec import carried_bytes
from django_hacache.exceptions import ReplicaError
from django_hacache.replica.layout import cache_name_bytes
from django_hacache.values.serializers import INTEGER_BYTES_MAX
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY_CHARACTERS_MAX = 1 << 20
REQ_ID_CHARACTERS_MAX = 255
# As many as a cache's workers send in one; see worker/operations.py. Each takes every node some microseconds.
BATCH_CHANGES_MAX = 500
# Of keys (characters) and values in a batch of several changes.
BATCH_BYTES_MAX = 2 << 20
# What a request may have beside the largest value: keys, and what tells its fields apart.
REQUEST_SLACK_BYTES = 2 << 20
# What one entry of the log may do: what a request has, and the results of increments, which are longer than those.
ENTRY_BYTES_MAX = 11 << 20
SHOWN_CHARACTERS = 80
CONDITIONS = frozenset(pb.Condition.values())


class Bounds(NamedTuple):
    """What a batch may have: changes, and bytes of keys (characters) and values where they are several."""

    changes: int
    bytes: int


ORDINARY = Bounds(BATCH_CHANGES_MAX, BATCH_BYTES_MAX)


class Refused(Exception):
    """A request that will never be granted as it is."""

    def __init__(self, code: pb.ErrorCode.ValueType, text: str) -> None:
        super().__init__(text)
        self.code = code


def checked(change: Any, bounds: Bounds = ORDINARY) -> Sequence[Any]:
    """The changes that a request makes: of a batch several. Raises Refused where one can never be carried out.

    The names of caches are looked at elsewhere.
    """
    if len(change.req_id) > REQ_ID_CHARACTERS_MAX:
        raise Refused(
            pb.ERROR_TOO_LARGE,
            f"a req_id of {len(change.req_id)} characters; at most {REQ_ID_CHARACTERS_MAX} are possible",
        )
    if type(change) is not pb.Batch:
        _size_of_checked(change)
        return (change,)
    parts = _parts_of(change, bounds.changes)
    size = 0
    for one in parts:
        size += _size_of_checked(one)
    if size > bounds.bytes and len(parts) > 1:
        raise Refused(
            pb.ERROR_TOO_LARGE,
            f"a batch of {len(parts)} changes with {size} bytes of keys and values; at most {bounds.bytes} are "
            "possible",
        )
    return parts


def _parts_of(change: pb.Batch, most: int) -> Sequence[Any]:
    if not 0 < len(change.changes) <= most:
        raise Refused(pb.ERROR_INVALID, f"a batch of {len(change.changes)} changes; expected 1 to {most}")
    kinds = [one.WhichOneof("change") for one in change.changes]
    if None in kinds:
        raise Refused(pb.ERROR_INVALID, "a change in the batch is empty")
    return [getattr(one, str(kind)) for one, kind in zip(change.changes, kinds, strict=True)]


def size_of(change: Any) -> int:
    """The bytes of one change's key (characters) and value."""
    return 0 if type(change) is pb.Clear else len(change.entry) + carried_bytes(change)


def check_name(cache: str) -> None:
    """Raise Refused where it can be no cache's name."""
    try:
        cache_name_bytes(cache)
    except ReplicaError as error:
        raise Refused(pb.ERROR_INVALID, str(error)[: 4 * SHOWN_CHARACTERS]) from None


def check_key(entry: str) -> None:
    """Raise Refused where it is too long for a key."""
    if len(entry) > KEY_CHARACTERS_MAX:
        raise Refused(
            pb.ERROR_TOO_LARGE,
            f"a key of {len(entry)} characters; at most {KEY_CHARACTERS_MAX} are possible",
        )


def _size_of_checked(change: Any) -> int:
    """What size_of() says of a change that may be; one pass, for a batch has many. Raises Refused."""
    kind = type(change)
    if kind is pb.Clear:
        return 0
    size = len(change.entry)
    if size > KEY_CHARACTERS_MAX:
        check_key(change.entry)
    if kind is pb.Insert:
        if change.condition not in CONDITIONS:
            raise Refused(pb.ERROR_INVALID, f"the condition {change.condition} is none of Condition's")
        return size + len(change.value)
    if kind is pb.Increment:
        length = len(change.delta)
        if not 0 < length <= INTEGER_BYTES_MAX:
            raise Refused(pb.ERROR_INVALID, f"a delta of {length} bytes; expected 1 to {INTEGER_BYTES_MAX}")
        return size + length
    return size
