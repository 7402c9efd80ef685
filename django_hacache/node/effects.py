"""Carries the effects of a log entry out on the replica: the same on every host, whatever its clock says."""

from __future__ import annotations

import logging
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from django_hacache.node.large import LARGE_BYTES, fields, number_of, without
from django_hacache.replica.clock import NEVER
from django_hacache.replica.layout import MAX_KEY_BYTES
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django_hacache.consensus.messages import Entry
    from django_hacache.node.incomplete import Held
    from django_hacache.replica.transaction import WriteTransaction

logger = logging.getLogger("django_hacache.node")

MS = 1_000_000  # ns
POSITION_BITS = 20
EARLIEST = 1  # 0 is NEVER
LATEST = (1 << 63) - 1  # ns of the boot-time clock; three centuries
EFFECTS, SET, VALUE = (
    number_of(pb.Effects, "effects"),
    number_of(pb.Effect, "set"),
    number_of(pb.SetEffect, "value"),
)
NO_VALUES: Mapping[int, memoryview] = MappingProxyType({})


def version_of(index: int, position: int) -> int:
    """The version of what the effect at `position` of the entry at `index` writes."""
    return (index << POSITION_BITS) | position


def expires_at(born_ms: int, ttl_ms: int | None) -> int:
    """The boot-time instant (ns) at which an entry ends that lives `ttl_ms` from `born_ms` on.

    A time to live that no header can hold ends at LATEST: it comes from the wire, and must not stop the node. One
    that ended before this host was booted ends at its first instant.
    """
    if ttl_ms is None:
        return NEVER
    ends = (born_ms + ttl_ms) * MS
    return ends if EARLIEST <= ends <= LATEST else min(max(ends, EARLIEST), LATEST)


def left_ms(ends: int, born_ms: int) -> int:
    """The time to live from `born_ms` on of what ends at `ends`; rounded up, for nothing may end too early."""
    return max(0, -(-ends // MS) - born_ms)


def apply(transaction: WriteTransaction | Held, entry: Entry) -> int:
    """Do what the entry says, inside `transaction`; returns how many of its effects had to be skipped.

    What can be carried out on no replica is skipped by each: a node that ended because of it would end again.
    """
    if not entry.effect:
        return 0
    try:
        effects, large = _effects_of(entry.effect)
    except DecodeError as error:
        _say_skipped(entry, 0, str(error))
        return 1
    skipped = 0
    for position, effect in enumerate(effects):
        kind = effect.WhichOneof("effect")
        change = getattr(effect, kind) if kind else None
        why = _why_impossible(transaction, kind, change)
        if why:
            _say_skipped(entry, position, why)
            skipped += 1
        else:
            _carry_out(transaction, entry, position, kind, change, large.get(position))
    return skipped


def _effects_of(encoded: bytes) -> tuple[Sequence[pb.Effect], Mapping[int, memoryview]]:
    """What an entry does, and of large values where they are: those are not in their effects."""
    if len(encoded) < LARGE_BYTES:
        return pb.Effects.FromString(encoded).effects, NO_VALUES
    effects: list[pb.Effect] = []
    large: dict[int, memoryview] = {}
    try:
        for one in fields(memoryview(encoded)):
            if one.number == EFFECTS and one.content is not None:
                effect, value = _split(one.content)
                if value is not None:
                    large[len(effects)] = value
                effects.append(effect)
    except ValueError:
        return pb.Effects.FromString(encoded).effects, NO_VALUES  # it says what is wrong, or knows better
    return effects, large


def _split(effect: memoryview) -> tuple[pb.Effect, memoryview | None]:
    """An effect without its value, where that is large."""
    if len(effect) >= LARGE_BYTES:
        (whole, *others) = fields(effect)
        if whole.number == SET and whole.content is not None and not others:
            small, value = without(whole.content, VALUE)
            if value is not None:
                return pb.Effect(set=pb.SetEffect.FromString(small)), value
    return pb.Effect.FromString(bytes(effect)), None


def _why_impossible(transaction: WriteTransaction | Held, kind: str | None, change: Any) -> str:
    """Why no replica with these contents can do it; empty where it can. This host's room is not the question."""
    if kind is None:
        return "this version knows no such effect"
    if kind == "remove_keys" and not all(0 < len(key) <= MAX_KEY_BYTES for key in change.keys):
        return f"it has a key that is not of 1 to {MAX_KEY_BYTES} bytes"
    return transaction.refuses(change.cache_name)


def _say_skipped(entry: Entry, position: int, why: str) -> None:
    logger.error(
        "effect %d of the entry at %d (term %d) cannot be carried out and is skipped, by every host alike: %s",
        position,
        entry.index,
        entry.term,
        why,
    )


def _carry_out(
    transaction: WriteTransaction | Held,
    entry: Entry,
    position: int,
    kind: str | None,
    change: Any,
    large: memoryview | None,
) -> None:
    match kind:
        case "set":
            if (
                change.keep_ttl
                and not (change.lasts or change.HasField("ttl_ms"))
                and transaction.present(change.cache_name, change.entry) is None
            ):
                return  # logged by an earlier version; this host was full and dropped it, and until when it lives
            transaction.set(
                change.cache_name,
                change.entry,
                change.value if large is None else large,
                version=version_of(entry.index, position),
                expires_at=expires_at(entry.born, change.ttl_ms if change.HasField("ttl_ms") else None),
                keep_ttl=change.keep_ttl,
            )
        case "delete":
            transaction.delete(change.cache_name, change.entry)
        case "touch":
            transaction.touch(
                change.cache_name,
                change.entry,
                version=version_of(entry.index, position),
                expires_at=expires_at(entry.born, change.ttl_ms if change.HasField("ttl_ms") else None),
            )
        case "clear":
            transaction.clear(change.cache_name)
        case "remove_keys":
            transaction.remove_keys(change.cache_name, change.keys)
