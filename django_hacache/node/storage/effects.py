"""The effects of a log entry: how the leader writes them down, and how every host carries them out on its replica.

They are changes without a condition: the same on every host, whatever its clock says. Knows nothing of what they come
from.
"""

from __future__ import annotations

import logging
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from django_hacache.node.encoding.large import LARGE_BYTES, fields, number_of, with_length, without
from django_hacache.node.requests.validation import ENTRY_BYTES_MAX, Refused
from django_hacache.replica.clock import MS, NEVER
from django_hacache.replica.layout import MAX_KEY_BYTES
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django_hacache.consensus.messages import Entry
    from django_hacache.node.storage.incomplete import Held
    from django_hacache.replica.transaction import WriteTransaction

logger = logging.getLogger("django_hacache.node")

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


class Draft:
    """The effects of the entry that is being made, and what they take."""

    def __init__(self, bytes_max: int = ENTRY_BYTES_MAX) -> None:
        """Take what an entry may have at most: what takes more raises Refused."""
        self._bytes_max = bytes_max
        self.begin()

    def begin(self) -> None:
        """Forget those of the entry before."""
        # Each is made where it stays: protobuf copies what is put into a message.
        self._message = pb.Effects()
        self._effects = self._message.effects
        # Values that are not in their effects, by the positions of those.
        self._large: dict[int, bytes] = {}
        self._value_bytes = 0

    def set(self, cache: str, entry: str, value: bytes, ttl_ms: int | None, *, keep_ttl: bool = False) -> int:
        """Store a value. Returns the position of the effect, as the others do.

        keep_ttl: hosts that have the entry keep until when it lives. `ttl_ms`, what the leader's has left, is for one
        that was full and dropped it: there it comes back.
        """
        size = len(value)
        self._value_bytes += size
        if self._value_bytes > self._bytes_max:
            raise self._too_large()
        position = len(self._effects)
        effect = self._effects.add().set
        effect.cache_name = cache
        effect.entry = entry
        if size < LARGE_BYTES:
            effect.value = value
        else:
            self._large[position] = value
        if keep_ttl:
            effect.keep_ttl = True
            effect.lasts = ttl_ms is None
        if ttl_ms is not None:
            effect.ttl_ms = ttl_ms
        return position

    def touch(self, cache: str, entry: str, ttl_ms: int | None) -> int:
        position = len(self._effects)
        effect = self._effects.add().touch
        effect.cache_name = cache
        effect.entry = entry
        if ttl_ms is not None:
            effect.ttl_ms = ttl_ms
        return position

    def delete(self, cache: str, entry: str) -> None:
        effect = self._effects.add().delete
        effect.cache_name = cache
        effect.entry = entry

    def remove_keys(self, cache: str, keys: Sequence[bytes]) -> None:
        effect = self._effects.add().remove_keys
        effect.cache_name = cache
        effect.keys.extend(keys)

    def clear(self, cache: str) -> None:
        self._effects.add().clear.cache_name = cache

    def serialized(self) -> bytes:
        """What goes into the log."""
        if not self._large:
            encoded = self._message.SerializeToString()
            if len(encoded) > self._bytes_max:
                raise self._too_large()
            return encoded
        chunks = self._chunks()
        if sum(map(len, chunks)) > self._bytes_max:
            raise self._too_large()
        return b"".join(chunks)

    def _too_large(self) -> Refused:
        return Refused(
            pb.ERROR_TOO_LARGE,
            f"what the request does takes more than {self._bytes_max} bytes, all that one entry of the log may have",
        )

    def _chunks(self) -> list[bytes]:
        chunks: list[bytes] = []
        for position, effect in enumerate(self._effects):
            value = self._large.get(position)
            if value is None:
                chunks += with_length(EFFECTS, [effect.SerializeToString()])
            else:
                whole = [effect.set.SerializeToString(), *with_length(VALUE, [value])]
                chunks += with_length(EFFECTS, with_length(SET, whole))
        return chunks


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
    written = ""  # the cache that the effect before wrote to: one more fits there, too
    for position, effect in enumerate(effects):
        kind = effect.WhichOneof("effect")
        if kind == "set":
            change: Any = effect.set
            cache = change.cache_name
            if cache == written or not (why := transaction.refuses(cache)):
                _set(transaction, entry, position, change, large.get(position))
                written = cache
                continue
        else:
            change = getattr(effect, kind) if kind else None
            why = _why_impossible(transaction, kind, change)
            if not why:
                _carry_out(transaction, entry, position, kind, change)
        written = ""
        if why:
            _say_skipped(entry, position, why)
            skipped += 1
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
                if not effects and len(one.content) < LARGE_BYTES:
                    # Hundreds of small ones, most likely: protobuf has read them all before these are half counted.
                    break
                effect, value = _split(one.content)
                if value is not None:
                    large[len(effects)] = value
                effects.append(effect)
        else:
            return effects, large
    except ValueError:
        pass  # protobuf says what is wrong, or knows better
    return pb.Effects.FromString(encoded).effects, NO_VALUES


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


def _set(
    transaction: WriteTransaction | Held,
    entry: Entry,
    position: int,
    change: pb.SetEffect,
    large: memoryview | None,
) -> None:
    cache, key, keep_ttl = change.cache_name, change.entry, change.keep_ttl
    ttl_ms = change.ttl_ms if change.HasField("ttl_ms") else None
    if keep_ttl and ttl_ms is None and not change.lasts and transaction.present(cache, key) is None:
        return  # logged by an earlier version; this host was full and dropped it, and until when it lives
    transaction.set(
        cache,
        key,
        change.value if large is None else large,
        version=version_of(entry.index, position),
        expires_at=NEVER if ttl_ms is None else expires_at(entry.born_ms, ttl_ms),
        keep_ttl=keep_ttl,
    )


def _carry_out(
    transaction: WriteTransaction | Held,
    entry: Entry,
    position: int,
    kind: str | None,
    change: Any,
) -> None:
    match kind:
        case "delete":
            transaction.delete(change.cache_name, change.entry)
        case "touch":
            transaction.touch(
                change.cache_name,
                change.entry,
                version=version_of(entry.index, position),
                expires_at=expires_at(entry.born_ms, change.ttl_ms if change.HasField("ttl_ms") else None),
            )
        case "clear":
            transaction.clear(change.cache_name)
        case "remove_keys":
            transaction.remove_keys(change.cache_name, change.keys)
