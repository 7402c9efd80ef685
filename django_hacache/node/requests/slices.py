"""Cuts a batch that is too much for one entry of the log into several: workers of an earlier version send such.

Nodes are restarted with a new release before the workers, so a node takes what those were allowed to send. Each slice
is a batch of its own, with a req_id that follows from that of the whole: a batch that is sent again is cut in the same
places, and no slice takes effect twice. Knows nothing of how a slice is carried out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_hacache.consensus.messages import Refusal
from django_hacache.node.encoding.acks import refusal_ack
from django_hacache.node.requests.validation import BATCH_BYTES_MAX, BATCH_CHANGES_MAX, Bounds, size_of
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# What workers of the version before may send in one batch.
EARLIER = Bounds(1000, 4 << 20)


def slices_of(request: pb.CacheRequest, changes: Sequence[Any]) -> list[pb.CacheRequest]:
    """The requests to carry out in place of a batch of these changes; of an ordinary one it is the only one itself."""
    # What the request has in all is more than its keys and values, and known without a look at each.
    if len(changes) <= BATCH_CHANGES_MAX and (
        request.ByteSize() <= BATCH_BYTES_MAX or sum(map(size_of, changes)) <= BATCH_BYTES_MAX
    ):
        return [request]
    batch = request.batch
    return [
        pb.CacheRequest(
            batch=pb.Batch(
                changes=batch.changes[first:end], req_id=f"{batch.req_id}/{first}", ack_level=batch.ack_level
            ),
            timeout_ms=request.timeout_ms,
            since_index=request.since_index,
            since_generation=request.since_generation,
        )
        for first, end in _places(changes)
    ]


def _places(changes: Sequence[Any]) -> Iterator[tuple[int, int]]:
    first = size = 0
    for position, change in enumerate(changes):
        weight = size_of(change)
        if position > first and (position - first == BATCH_CHANGES_MAX or size + weight > BATCH_BYTES_MAX):
            yield first, position
            first, size = position, 0
        size += weight
    yield first, len(changes)


class Gathering:
    """The one answer to a batch whose slices are answered one by one."""

    def __init__(self, req_id: str, count: int, reply: Callable[[pb.Ack | None], None]) -> None:
        self._req_id = req_id
        self._missing = count
        self._acks: list[pb.Ack] = [pb.Ack()] * count
        self._reply = reply

    def take(self, position: int, ack: pb.Ack | None) -> None:
        """The answer to the slice at this position."""
        self._acks[position] = ack or pb.Ack()
        self._missing -= 1
        if not self._missing:
            self._reply(self._whole())

    def _whole(self) -> pb.Ack:
        errors = [ack.error for ack in self._acks if ack.HasField("error")]
        if not errors:
            each = [one for ack in self._acks for one in ack.batch_ack.mod_res]
            return pb.Ack(batch_ack=pb.BatchAck(req_id=self._req_id, mod_res=each))
        first = errors[0]
        if len(errors) == len(self._acks) and all(one.code != pb.ERROR_OUTCOME_UNKNOWN for one in errors):
            return pb.Ack(error=pb.Error(error=first.error, code=first.code, req_id=self._req_id))
        # A part of it may have happened: whoever is told that it did not would be told wrong.
        return refusal_ack(self._req_id, Refusal.OUTCOME_UNKNOWN)
