"""Parts of a replica: how they are read on the leader's host, and stored on a follower's.

Where a part begins and ends are places, see incomplete.py. What is sent when, and what is taken, is decided in
consensus/transfer.py.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from django_hacache.consensus.transfer import Part
from django_hacache.exceptions import ReplicaError
from django_hacache.node.storage import effects
from django_hacache.node.storage.incomplete import AFTER_CACHE, PLACE_BYTES_MAX, PROGRESS, REQUESTS, place_of
from django_hacache.replica.clock import MS, NEVER, boottime_ns
from django_hacache.replica.layout import MAX_KEY_BYTES, cache_name_bytes
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_hacache.consensus.dedup import Recorded
    from django_hacache.replica.transaction import ReadTransaction, WriteTransaction

logger = logging.getLogger("django_hacache.node")

# A part is what the event loop does in one go; a larger value is a part of its own.
PART_BYTES = 128 << 10
PART_ENTRIES = 200
PART_REQUESTS = 2000
# A transfer's name has 16 characters. No value is larger than what an entry of the log may have.
NAME_CHARACTERS_MAX = 64
VALUE_BYTES_MAX = 150 << 20


class Read(NamedTuple):
    """A part as it was read, the message with it, and how many entries and bytes are in it."""

    part: Part
    request: pb.CacheRequest
    entries: int
    size: int


class Arrived(NamedTuple):
    """A part as it arrived, at `received_ms` of this host's clock."""

    part: Part
    items: list[pb.SnapshotItem]
    requests: list[tuple[str, Recorded]]
    received_ms: int


def read(
    reading: ReadTransaction,
    index: int,
    after: bytes,
    requests: Callable[[], list[tuple[str, Recorded]]],
    floor: int,
    limit: int = PART_BYTES,
) -> Read:
    """What comes after the place `after` in a picture of the replica at `index`: `limit` bytes, or one larger value.

    requests: gives the table of recent ones as it is now, oldest first; `floor` is the index up to which it
    may have forgotten some.
    """
    if after.startswith(REQUESTS):
        return _read_requests(index, after, requests, floor)
    # Filled in its place: what is put into another message is copied, and a part is copied often enough.
    request = pb.CacheRequest()
    items = request.snapshot_chunk.items
    size, upto = 0, after
    first, _, key = after.partition(AFTER_CACHE)
    for cache in reading.caches():
        if cache.encode() < first:
            continue
        for entry in reading.items(cache, key if cache.encode() == first else b""):
            if items and size + len(entry.value) > limit:
                return _described(Part(after, upto, index), request, size)
            item = items.add(cache_name=cache, key=entry.key, value=entry.value, version=entry.version)
            if entry.expires_at != NEVER:
                item.ttl_ms = max(entry.expires_at - boottime_ns(), 0) // MS
            size += len(entry.value) + len(entry.key)
            upto = place_of(cache, entry.key)
            if size >= limit or len(items) >= PART_ENTRIES:
                return _described(Part(after, upto, index), request, size)
    return _described(Part(after, REQUESTS, index), request, size)


def _described(part: Part, request: pb.CacheRequest, size: int) -> Read:
    chunk = request.snapshot_chunk
    chunk.index, chunk.after, chunk.upto = part.index, part.after, part.upto
    chunk.done, chunk.floor = part.last, part.floor
    return Read(part, request, len(chunk.items), size)


def _read_requests(
    index: int, after: bytes, requests: Callable[[], list[tuple[str, Recorded]]], floor: int
) -> Read:
    # Those of later entries the follower has in its log: else there would be no end of them.
    sent, until = PROGRESS.unpack(after.removeprefix(REQUESTS) or PROGRESS.pack(0, index))
    request = pb.CacheRequest()
    chosen = request.snapshot_chunk.requests
    size = 0
    last = True
    for req_id, recorded in requests():
        if not sent < recorded.index <= until:
            continue
        if size >= PART_BYTES or len(chosen) >= PART_REQUESTS:
            last = False
            break
        chosen.add(req_id=req_id, outcome=recorded.outcome, index=recorded.index)
        size += len(req_id) + len(recorded.outcome)
    upto = REQUESTS + PROGRESS.pack(chosen[-1].index if chosen else sent, until)
    return _described(Part(after, upto, index, last, floor), request, size)


def flaw(chunk: pb.SnapshotChunk, held_bytes: int) -> str:
    """What no leader sends in a chunk with a part, or with a piece of one; empty where it may be that.

    held_bytes: of the pieces before it.
    """
    if not 0 < len(chunk.transfer) <= NAME_CHARACTERS_MAX:
        return f"a transfer's name of {len(chunk.transfer)} characters"
    if max(len(chunk.after), len(chunk.upto)) > PLACE_BYTES_MAX:
        return f"a place of {max(len(chunk.after), len(chunk.upto))} bytes"
    if (chunk.more or chunk.offset) and len(chunk.items) != 1:
        return f"a piece of {len(chunk.items)} values"
    if held_bytes and held_bytes + len(chunk.items[0].value) > VALUE_BYTES_MAX:
        return f"a value of more than {VALUE_BYTES_MAX} bytes"
    if chunk.floor > chunk.index or any(one.index > chunk.index for one in chunk.requests):
        return f"a request of later than the part itself, {chunk.index}"
    return next((why for item in chunk.items if (why := _flaw_of_item(item))), "")


def _flaw_of_item(item: pb.SnapshotItem) -> str:
    if not 0 < len(item.key) <= MAX_KEY_BYTES:
        return f"a key of {len(item.key)} bytes"
    try:
        cache_name_bytes(item.cache_name)
    except ReplicaError as error:
        return str(error)
    return ""


def store(transaction: WriteTransaction, arrived: Arrived) -> None:
    """Put the entries of a part into the replica."""
    for item in arrived.items:
        why = transaction.refuses(item.cache_name)
        if why:
            # The leader has more caches with entries than there can be.
            logger.error("an entry of the leader's replica is skipped: %s", why)
            continue
        ttl = item.ttl_ms if item.HasField("ttl_ms") else None
        transaction.put_raw(
            item.cache_name,
            item.key,
            item.value,
            version=item.version,
            expires_at=effects.expires_at(arrived.received_ms, ttl),
        )
