"""The log as wire messages, and back: its entries, what a leader appends and what a follower answers to that.

The same entries are stored: see storage/storage.py.
"""

from __future__ import annotations

from dataclasses import replace

from django_hacache.consensus import messages as core
from django_hacache.node.encoding.large import LARGE_BYTES, number_of, with_length
from django_hacache.wire import cache_pb2 as pb

# Older than any cluster; what is reckoned with it still has 64 bits.
AGE_MS_MAX = 1 << 62
APPEND, ENTRIES, EFFECTS = (
    number_of(pb.CacheRequest, "append"),
    number_of(pb.Append, "entries"),
    number_of(pb.LogEntry, "effects"),
)


def entry_to_wire(entry: core.Entry, age: int) -> pb.LogEntry:
    return pb.LogEntry(
        index=entry.index,
        term=entry.term,
        effects=entry.effect,
        req_id=entry.req_id,
        outcome=entry.outcome,
        age_ms=age,
    )


def entry_chunks(entry: core.Entry, age: int) -> list[bytes]:
    """The serialized LogEntry, in chunks: what it does is not copied where it is large."""
    if len(entry.effect) < LARGE_BYTES:
        return [entry_to_wire(entry, age).SerializeToString()]
    small = pb.LogEntry(
        index=entry.index, term=entry.term, req_id=entry.req_id, outcome=entry.outcome, age_ms=age
    )
    return [small.SerializeToString(), *with_length(EFFECTS, [entry.effect])]


def entry_of(entry: pb.LogEntry, born: int = 0) -> core.Entry:
    return core.Entry(entry.index, entry.term, entry.effects, entry.req_id, entry.outcome, born)


# Appends and their answers are written where they belong: each message that is put into another one is copied, and
# the arguments of a message take longer than its fields.


def write_append(append: pb.Append, message: core.Append) -> None:
    append.term = message.term
    append.prev_index = message.prev_index
    append.prev_term = message.prev_term
    append.commit_index = message.commit_index
    append.anew = message.anew
    append.awaited = message.awaited
    for entry, age_ms in zip(message.entries, message.ages_ms, strict=True):
        written = append.entries.add()
        written.index = entry.index
        written.term = entry.term
        written.effects = entry.effect
        written.req_id = entry.req_id
        written.outcome = entry.outcome
        written.age_ms = age_ms


def encoded_append(message: core.Append) -> bytes:
    """The request that carries an Append, serialized."""
    for entry in message.entries:
        if len(entry.effect) >= LARGE_BYTES:
            return _encoded_large_append(message)
    request = pb.CacheRequest()
    write_append(request.append, message)
    return request.SerializeToString()


def _encoded_large_append(message: core.Append) -> bytes:
    empty = pb.Append()
    write_append(empty, replace(message, entries=(), ages_ms=()))
    chunks = [empty.SerializeToString()]
    for entry, age in zip(message.entries, message.ages_ms, strict=True):
        chunks += with_length(ENTRIES, entry_chunks(entry, age))
    return b"".join(with_length(APPEND, chunks))


def append_of(message: pb.Append) -> core.Append:
    wired = list(message.entries)
    return core.Append(
        message.term,
        message.prev_index,
        message.prev_term,
        message.commit_index,
        tuple([entry_of(entry) for entry in wired]),
        tuple([min(entry.age_ms, AGE_MS_MAX) for entry in wired]),
        message.anew,
        message.awaited,
    )


def write_append_ack(ack: pb.AppendAck, message: core.AppendAck) -> None:
    ack.term = message.term
    ack.success = message.success
    ack.match_index = message.match_index
    ack.applied_index = message.applied_index
    ack.prev_index = message.prev_index
    ack.installing = message.installing


def append_ack_of(message: pb.AppendAck) -> core.AppendAck:
    return core.AppendAck(
        message.term,
        message.success,
        message.match_index,
        message.applied_index,
        message.prev_index,
        message.installing,
    )
