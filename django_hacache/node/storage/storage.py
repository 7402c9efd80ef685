"""Storage: writes the durable part of a Ready in one LMDB transaction, and loads it after a restart.

LMDB runs without sync: what is stored survives the process, not the host. A host that comes back from a crash is fresh.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is a class
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf.message import DecodeError

from django_hacache.consensus.dedup import Recorded
from django_hacache.consensus.hard_state import HardState, Installing, fresh_state
from django_hacache.consensus.log import Log
from django_hacache.consensus.messages import Entry, Generation
from django_hacache.consensus.ready import Ready
from django_hacache.exceptions import ReplicaBroken
from django_hacache.node.encoding.large import LARGE_BYTES, without
from django_hacache.node.encoding.log_codec import EFFECTS, entry_chunks, entry_of
from django_hacache.node.storage import effects, parts
from django_hacache.node.storage.incomplete import Held
from django_hacache.node.storage.succession import noted_hosts
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from random import Random

    from django_hacache.node.storage.parts import Arrived
    from django_hacache.replica.journal import Journal, JournalReader
    from django_hacache.replica.replica import Replica

logger = logging.getLogger("django_hacache.node")

HARD = "hard"
BASE = "base"
APPLIED = "applied"
FLOOR = "floor"
PLACE = Struct("<QQ")  # index and term
PIECE_BYTES = 1 << 20
Store = Callable[[Callable[[], None], int], None]
"""Carries out a write of about so many bytes."""
BORN = Struct("<q")  # milliseconds of this host's boot-time clock; negative: before this host was booted


class Unreadable(Exception):
    """A record of the journal is none that this release writes."""


class Found(NamedTuple):
    """What a start has to go on with."""

    hard: HardState
    log: Log
    applied: int
    requests: list[tuple[str, Recorded]]
    requests_floor: int


def load(replica: Replica, rng: Random) -> Found:
    """Read what the last process of this node left; a fresh node where that is nothing, or nothing readable."""
    try:
        return _load(replica, rng)
    except ReplicaBroken as error:
        replica.start_over(error)
    except Unreadable as error:
        # Another release wrote it, most likely. A node that has forgotten everything is a fresh one.
        logger.critical(
            "what the last node left in %s cannot be read, and this one begins with nothing: %s",
            replica.directory,
            error,
        )
        replica.erase()
    return _load(replica, rng)


@contextmanager
def reads_journal(what: str) -> Iterator[None]:
    """Raise Unreadable in place of what a record raises that is none of ours."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, StructError, DecodeError) as error:
        raise Unreadable(f"{what}: {type(error).__name__}: {ascii(str(error))[1:200]}") from error


def _load(replica: Replica, rng: Random) -> Found:
    with reads_journal("the journal"), replica.snapshot() as reading:
        journal = reading.journal
        stored = journal.get_meta(HARD)
        hard = None if stored is None else _hard_of(stored)
        if hard is None:
            return Found(fresh_state(rng), Log(), 0, [], 0)
        base_index, base_term = PLACE.unpack(journal.get_meta(BASE) or PLACE.pack(0, 0))
        applied = applied_place(journal)[0]
        noted_hosts(journal)  # Succession's; here is who begins with nothing where it cannot be read
        floor = int.from_bytes(journal.get_meta(FLOOR) or b"", "big")
        numbered = [(index, _entry_of(raw)) for index, raw in journal.entries()]
        for place, (index, entry) in enumerate(numbered, base_index + 1):
            if not place == index == entry.index:
                raise Unreadable(f"the entry {entry.index} is in place {index} of the log, for {place}")
        log = Log(base_index, base_term, (entry for _, entry in numbered))
        if not log.base_index <= applied <= log.last_index:
            raise Unreadable(f"{applied} is applied, of a log from {log.base_index} to {log.last_index}")
        return Found(hard, log, applied, recorded_requests(journal), floor)


def applied_place(journal: JournalReader) -> tuple[int, int]:
    """Index and term of the last entry whose effects the replica holds."""
    index, term = PLACE.unpack(journal.get_meta(APPLIED) or PLACE.pack(0, 0))
    return index, term


def recorded_requests(journal: JournalReader) -> list[tuple[str, Recorded]]:
    """Those of the recent requests that the log has dropped, oldest first."""
    return [_recorded_of(index, raw) for index, raw in journal.requests()]


class Storage:
    """Writes what the core has decided."""

    def __init__(self, replica: Replica, store: Store | None = None) -> None:
        """`store` carries a write out, and may do so again where it finds no room."""
        self._replica = replica
        self._store = store or (lambda write, _size: write())
        # Entries of Readies that could wait; they go before everything else of the next transaction.
        self._unstored: list[Entry] = []
        self._unstored_bytes = 0
        self._identified = False
        # Committed effects that no replica can carry out, since this process started.
        self.skipped = 0

    def write(
        self, ready: Ready, hard: HardState, requests_floor: int, arrived: Arrived | None = None
    ) -> None:
        """Store the durable part of `ready`, unless it may wait; returns when it is committed.

        A new node stores its identity with the first thing that it stores. `arrived` is the part of the leader's
        replica that `ready` follows from. Raises ReplicaError: then it may be that a piece is stored, in its order.
        """
        if not (ready.has_durable_part or self._unstored):
            return
        size = _size_of(ready.entries)
        # What is much does not wait: it would be stored and applied in one go, with the commit.
        if ready.may_wait and self._unstored_bytes + size <= PIECE_BYTES:
            self._unstored += ready.entries
            self._unstored_bytes += size
            return
        unstored = self._unstored if ready.reset_log is None else []
        size += _size_of(ready.apply) + (self._unstored_bytes if unstored else 0)
        if arrived is not None:
            size += sum(len(item.value) for item in arrived.items)
        if size <= PIECE_BYTES:
            self._store(partial(self._write, unstored, ready, hard, requests_floor, arrived), size)
        else:
            self._write_in_pieces(unstored, ready, hard, requests_floor, arrived)
        self._identified = True
        self._unstored.clear()
        self._unstored_bytes = 0

    def _write_in_pieces(
        self, unstored: list[Entry], ready: Ready, hard: HardState, floor: int, arrived: Arrived | None
    ) -> None:
        """The same in several transactions, so that none needs much room: what a crash leaves is a beginning of it.

        Entries that nobody was told of may be lost, and what is in the log is applied after the restart.
        """
        state = replace(ready, entries=[], apply=[], compact_to=None)
        pieces: list[tuple[Ready, Arrived | None]] = [
            *((Ready(entries=piece), None) for piece in _pieces(unstored)),
            (state, arrived),
            *((Ready(entries=piece), None) for piece in _pieces(ready.entries)),
            *((Ready(apply=piece), None) for piece in _pieces(ready.apply)),
            (Ready(compact_to=ready.compact_to, compact_term=ready.compact_term), None),
        ]
        for piece, end in pieces:
            size = _size_of(piece.entries) + _size_of(piece.apply)
            self._store(partial(self._write, (), piece, hard, floor, end), size)

    def _write(
        self, before: Sequence[Entry], ready: Ready, hard: HardState, floor: int, arrived: Arrived | None
    ) -> None:
        """One transaction."""
        skipped = 0
        with self._replica.write() as transaction:
            journal = transaction.journal
            if before:
                journal.put_entries((entry.index, _entry_to_bytes(entry)) for entry in before)
            if ready.reset_log is not None:
                transaction.empty()
                journal.clear_requests()
                journal.truncate_from(0)
                journal.put_meta(APPLIED, PLACE.pack(*ready.reset_log))
                journal.put_meta(BASE, PLACE.pack(*ready.reset_log))
                journal.put_meta(FLOOR, floor.to_bytes(8, "big"))
            if ready.truncate_from is not None:
                journal.truncate_from(ready.truncate_from)
            if arrived is not None:
                parts.store(transaction, arrived)
                _store_requests(journal, arrived, floor)
            if ready.entries:
                journal.put_entries([(entry.index, _entry_to_bytes(entry)) for entry in ready.entries])
            held = transaction if hard.installing is None else Held(transaction, hard.installing.position)
            for entry in ready.apply:
                skipped += effects.apply(held, entry)
            if ready.apply:
                last = ready.apply[-1]
                journal.put_meta(APPLIED, PLACE.pack(last.index, last.term))
            if ready.compact_to is not None:
                _compact(journal, ready.compact_to, ready.compact_term, floor)
            if ready.hard_state is not None:
                journal.put_meta(HARD, _hard_to_bytes(ready.hard_state))
            elif not self._identified and journal.get_meta(HARD) is None:
                journal.put_meta(HARD, _hard_to_bytes(hard))
        self.skipped += skipped

    def requests_with(self, arrived: Arrived) -> list[tuple[str, Recorded]]:
        """The requests that came with the leader's replica, the last ones of them in `arrived`."""
        with self._replica.snapshot() as reading:
            return recorded_requests(reading.journal) + arrived.requests


def _store_requests(journal: Journal, arrived: Arrived, floor: int) -> None:
    """`floor` is the table's with the part in it: it may be beyond the part's, never before it."""
    for req_id, recorded in arrived.requests:
        record = pb.RecentRequest(req_id=req_id, outcome=recorded.outcome)
        journal.put_request(recorded.index, record.SerializeToString())
    if arrived.part.last:
        journal.delete_requests_to(floor)
        journal.put_meta(FLOOR, floor.to_bytes(8, "big"))


def _size_of(entries: Iterable[Entry]) -> int:
    size = 0
    for entry in entries:
        size += entry.size
    return size


def _pieces(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """The entries in their order, in pieces of PIECE_BYTES or of one larger entry."""
    piece: list[Entry] = []
    size = 0
    for entry in entries:
        if piece and size + entry.size > PIECE_BYTES:
            yield piece
            piece, size = [], 0
        piece.append(entry)
        size += entry.size
    if piece:
        yield piece


def _compact(journal: Journal, index: int, term: int, floor: int) -> None:
    """Drop the log up to `index`. The table of recent requests is in the log; what it loses here is kept apart."""
    journal.delete_requests_to(floor)
    for at, raw in journal.entries_between(floor + 1, index):
        entry = pb.LogEntry.FromString(_without_effects(raw))
        if entry.req_id:
            record = pb.RecentRequest(req_id=entry.req_id, outcome=entry.outcome)
            journal.put_request(at, record.SerializeToString())
    journal.compact_to(index)
    journal.put_meta(BASE, PLACE.pack(index, term))
    journal.put_meta(FLOOR, floor.to_bytes(8, "big"))


def _without_effects(raw: bytes) -> bytes:
    """A stored entry as it is encoded, and where what it does is large, without that."""
    if len(raw) < LARGE_BYTES:
        return raw[BORN.size :]
    encoded = memoryview(raw)[BORN.size :]
    small, effects = without(encoded, EFFECTS)
    return bytes(encoded) if effects is None else small


def _entry_to_bytes(entry: Entry) -> bytes:
    return b"".join([BORN.pack(entry.born_ms), *entry_chunks(entry, 0)])


def _entry_of(raw: bytes) -> Entry:
    (born,) = BORN.unpack_from(raw)
    return entry_of(pb.LogEntry.FromString(raw[BORN.size :]), born)


def _recorded_of(index: int, raw: bytes) -> tuple[str, Recorded]:
    record = pb.RecentRequest.FromString(raw)
    return record.req_id, Recorded(index, record.outcome)


def _hard_to_bytes(hard: HardState) -> bytes:
    return json.dumps(
        {
            "incarnation": hard.incarnation,
            "term": hard.term,
            "vote": hard.vote,
            "generation": hard.generation,
            "fresh": hard.fresh,
            "forming": hard.forming,
            "installing": hard.installing and [hard.installing.position.hex(), *hard.installing[1:]],
        }
    ).encode()


def _hard_of(raw: bytes) -> HardState | None:
    stored: dict[str, Any] = json.loads(raw)
    for name, kind in {"incarnation": str, "vote": str, "term": int, "fresh": bool}.items():
        if type(stored[name]) is not kind:
            raise ValueError(f"{name} is {stored[name]!r}")
    for name in ("generation", "forming"):
        number, identity = stored[name] or (0, "")
        stored[name] = Generation(int(number), str(identity)) if stored[name] else None
    if stored["installing"] is True:
        return None  # an earlier version was stopped while it was sent a replica: nothing of it is whole
    if stored["installing"]:
        position, reached, whole = stored["installing"]
        stored["installing"] = Installing(bytes.fromhex(position), int(reached), bool(whole))
    else:
        stored["installing"] = None
    return HardState(**stored)
