"""Decides, on the leader, what a change does: a condition becomes a yes or no, arithmetic a result.

It sees the replica and, above it, what is in the order but not applied yet. What it returns are effects that every
replica can carry out without looking at anything.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from django_hacache.consensus.messages import NeverOrdered
from django_hacache.node.answers import CODES, change_of
from django_hacache.node.complaints import Complaints
from django_hacache.node.effects import expires_at, left_ms, version_of
from django_hacache.node.large import LARGE_BYTES, number_of, with_length
from django_hacache.node.validation import (
    ENTRY_BYTES_MAX,
    SHOWN_CHARACTERS,
    Refused,
    check_name,
    checked,
)
from django_hacache.replica.clock import NEVER, is_live
from django_hacache.replica.layout import MAX_CACHES, replica_key
from django_hacache.values.serializers import INTEGER_BYTES_MAX, integer_from_bytes, integer_to_bytes
from django_hacache.values.signing import PLAIN
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from django_hacache.consensus.held import Lack
    from django_hacache.node.catalogue import Catalogue
    from django_hacache.node.gate import Gate
    from django_hacache.replica.replica import Replica
    from django_hacache.values.signing import Codec

logger = logging.getLogger("django_hacache.node")


class Sight(NamedTuple):
    """An entry as the next change finds it; `value` None: known to be absent.

    Of one that is in the replica it is the first HEAD_BYTES, of which `length` may be more.
    """

    value: bytes | memoryview | None
    version: int
    expires_at: int
    place: int  # index of the log entry that left it so; 0: it is in the replica
    length: int = 0


ABSENT = Sight(None, 0, 0, 0)
Answer = tuple[bool, "pb.Reason.ValueType"]
# What arithmetic needs of a value, signed perhaps: one that has more is no integer to it.
HEAD_BYTES = INTEGER_BYTES_MAX + 64
# To give a value another time to live is to write it anew. One of more bytes counts for that.
TOUCHED_BYTES = 8 << 10
REMOVALS = (pb.Del, pb.Remove, pb.Clear)
EFFECTS, SET, VALUE = (
    number_of(pb.Effects, "effects"),
    number_of(pb.Effect, "set"),
    number_of(pb.SetEffect, "value"),
)


def _cache_of(change: Any) -> str:
    """The cache that a change counts for; that of its first part, where it has several. Empty where it has none."""
    if isinstance(change, pb.Batch):
        kind = change.changes[0].WhichOneof("change") if change.changes else None
        return str(getattr(change.changes[0], kind).cache_name) if kind else ""
    return str(change.cache_name)


class Decider:
    """The Evaluator of the consensus core, over one replica."""

    def __init__(
        self,
        replica: Replica,
        gate: Gate | None = None,
        catalogue: Catalogue | None = None,
        codecs: Mapping[str, Codec] | None = None,
        *,
        entry_bytes_max: int = ENTRY_BYTES_MAX,
    ) -> None:
        self._replica = replica
        self._gate = gate
        self._catalogue = catalogue
        # How this host's settings store the values of each cache.
        self._codecs = codecs or {}
        self._complaints = Complaints(logger)
        self._entry_bytes_max = entry_bytes_max
        # The caches that have entries, or will have: there is room for so many.
        self._names: set[str] = set()
        self._pending: dict[str, dict[bytes, Sight]] = {}
        self._cleared: dict[str, int] = {}
        # What the evaluation that goes on has replaced, latest last.
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []
        self._order: deque[tuple[int, str, bytes | None]] = deque()
        self._index = 0
        self._now_ms = 0
        self._effects: list[pb.Effect] = []
        # Values that are not in their effects, by the positions of those.
        self._large: dict[int, bytes] = {}
        self._value_bytes = 0
        self._deciders: dict[type[Any], Callable[[Any], Answer]] = {
            pb.Put: self._put,
            pb.Insert: self._insert,
            pb.Del: self._remove,
            pb.Remove: self._remove,
            pb.Touch: self._touch,
            pb.Increment: self._increment,
            pb.Clear: self._clear,
        }
        self._value: bytes | None = None
        # What replicas write anew for the change beside its effects.
        self._rewritten = 0

    # the interface that the core knows

    def lacks(self, command: pb.CacheRequest, size: int) -> Lack | None:
        """Whether a change of so many bytes has to wait until something has gone for it, and with whom."""
        gate = self._gate
        if gate is None or size <= gate.plenty:
            return None
        change = change_of(command)
        return gate.lacks(_cache_of(change), size, removal=isinstance(change, REMOVALS))

    def line_of(self, command: pb.CacheRequest) -> str:
        """The cache whose changes it waits with."""
        return _cache_of(change_of(command))

    def evaluate(self, command: pb.CacheRequest, index: int, now: int) -> tuple[bytes, bytes]:
        """Return the serialized Effects and Outcome of a change that will have its place at `index`.

        Raises NeverOrdered where that would be an entry that a connection does not take or a host cannot store.
        """
        self._begin(index, now)
        change = change_of(command)
        try:
            parts = checked(change)
            outcome = self._decided(parts)
            effect = self._serialized()
        except Refused as refused:
            self._take_back()
            raise NeverOrdered(CODES[refused.code], str(refused)) from None
        if self._gate is not None and effect:
            self._gate.ordered(index, parts[0].cache_name, len(effect) + self._rewritten)
        return effect, outcome.SerializeToString()

    def _decided(self, changes: Iterable[Any]) -> pb.Outcome:
        outcome = pb.Outcome()
        for one in changes:
            if one.cache_name not in self._names:
                self._admit(one.cache_name)
            took_effect, outcome.reason = self._deciders[type(one)](one)
            outcome.mod_res.append(took_effect)
        if self._value is not None:
            outcome.value = self._value
        return outcome

    def _admit(self, cache: str) -> None:
        """Make sure that every replica can hold the cache, be it by clearing one that no host serves any more."""
        check_name(cache)
        with self._replica.snapshot() as picture:
            stored = {name: picture.usage(name).entries for name in picture.caches()}
        # A cache without entries needs no place: where another one does, replicas forget its name.
        self._names = {name for name, entries in stored.items() if entries and name not in self._cleared}
        self._names.update(self._pending)
        if cache not in self._names and len(self._names) >= MAX_CACHES:
            self._make_room_for(cache, stored)
        self._names.add(cache)

    def _make_room_for(self, cache: str, stored: dict[str, int]) -> None:
        shown = cache[:SHOWN_CHARACTERS]
        if self._catalogue is None or self._catalogue.silent():
            silent = ", ".join(self._catalogue.silent()) if self._catalogue else "this host"
            raise Refused(
                pb.ERROR_UNKNOWN_CACHE,
                f"no room for cache {shown!r}: there are {len(self._names)} others, and {silent} has not said which "
                "of them it serves",
            )
        unused = self._names - self._catalogue.configured()
        if not unused:
            raise Refused(
                pb.ERROR_UNKNOWN_CACHE,
                f"no room for cache {shown!r}: the hosts serve {len(self._names)} others, all that a cluster can hold",
            )
        least = min(unused, key=lambda name: (stored.get(name, 0), name))
        self._complaints.say(
            "room", f"cache {least!r} is in the settings of no host: it makes room for {shown!r}"
        )
        self._clear_all(least)
        self._names.discard(least)

    def _take_back(self) -> None:
        """Undo what the evaluation has done so far."""
        for mapping, key, before in reversed(self._undo):
            if before is None:
                mapping.pop(key, None)
            else:
                mapping[key] = before
        while self._order and self._order[-1][0] == self._index:
            self._order.pop()

    def abandon(self) -> None:
        """Forget what may never be applied."""
        self._names.clear()
        self._pending.clear()
        self._cleared.clear()
        self._order.clear()
        if self._gate is not None:
            self._gate.abandon()

    # the interface for the shell

    def applied(self, index: int) -> None:
        """The replica now holds everything up to `index`."""
        if self._gate is not None:
            self._gate.applied(index)
        while self._order and self._order[0][0] <= index:
            at, cache, key = self._order.popleft()
            if key is None:
                if self._cleared.get(cache) == at:
                    del self._cleared[cache]
            elif (sights := self._pending.get(cache)) and (sight := sights.get(key)) and sight.place == at:
                del sights[key]
                if not sights:
                    del self._pending[cache]

    def removal(self, cache: str, keys: Iterable[bytes], index: int, now: int) -> bytes:
        """The effects of an eviction of replica keys, except those that a change in the order has touched."""
        self._begin(index, now)
        pending = self._pending.get(cache, {})
        chosen = [key for key in keys if key not in pending and cache not in self._cleared]
        if not chosen:
            return b""
        self._effects.append(pb.Effect(remove_keys=pb.RemoveKeys(cache_name=cache, keys=chosen)))
        for key in chosen:
            self._remember(cache, key, None)
        return self._serialized()

    def clearing(self, cache: str, index: int, now: int) -> bytes:
        """The effect of emptying a cache that no host serves any more."""
        self._begin(index, now)
        self._clear_all(cache)
        self._names.discard(cache)
        return self._serialized()

    # what each kind of change does

    def _begin(self, index: int, now: int) -> None:
        self._index, self._now_ms = index, now
        self._effects = []
        self._large.clear()
        self._value_bytes = 0
        self._value = None
        self._rewritten = 0
        self._undo.clear()

    def _serialized(self) -> bytes:
        if not self._effects:
            return b""
        if not self._large:
            serialized = pb.Effects(effects=self._effects).SerializeToString()
            self._ensure_fits(len(serialized))
            return serialized
        chunks = self._chunks()
        self._ensure_fits(sum(map(len, chunks)))
        return b"".join(chunks)

    def _ensure_fits(self, size: int) -> None:
        if size > self._entry_bytes_max:
            raise Refused(
                pb.ERROR_TOO_LARGE,
                f"what the request does takes more than {self._entry_bytes_max} bytes, all that one entry of the "
                "log may have",
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

    def _sight(self, cache: str, entry: str) -> Sight | None:
        sights = self._pending.get(cache)
        return sights.get(replica_key(entry)) if sights else None

    def _look(self, cache: str, entry: str) -> Sight:
        """What a condition sees: live entries only."""
        sight = self._sight(cache, entry)
        if sight is None:
            if cache in self._cleared:
                return ABSENT
            found = self._replica.head(cache, entry, HEAD_BYTES)
            if found is None:
                return ABSENT
            item, length = found
            return Sight(item.value, item.version, item.expires_at, 0, length)
        if sight.value is not None and not is_live(sight.expires_at):
            return ABSENT
        return sight

    def _remember(self, cache: str, key: bytes, value: bytes | None, ends: int = 0) -> None:
        version = version_of(self._index, len(self._effects) - 1)
        sights = self._pending.get(cache)
        if sights is None:
            self._undo.append((self._pending, cache, None))
            sights = self._pending[cache] = {}
        self._undo.append((sights, key, sights.get(key)))
        sights[key] = Sight(value, version, ends, self._index)
        self._order.append((self._index, cache, key))

    def _set(self, change: Any, value: bytes, ttl_ms: int | None, *, keep: Sight | None = None) -> None:
        self._value_bytes += len(value)
        self._ensure_fits(self._value_bytes)
        effect = pb.SetEffect(cache_name=change.cache_name, entry=change.entry)
        if len(value) < LARGE_BYTES:
            effect.value = value
        else:
            self._large[len(self._effects)] = value
        if keep is not None:
            effect.keep_ttl = True
            # For a host that was full and dropped it: there it comes back.
            if keep.expires_at == NEVER:
                effect.lasts = True
            else:
                effect.ttl_ms = left_ms(keep.expires_at, self._now_ms)
        elif ttl_ms is not None:
            effect.ttl_ms = ttl_ms
        self._effects.append(pb.Effect(set=effect))
        ends = keep.expires_at if keep else expires_at(self._now_ms, ttl_ms)
        self._remember(change.cache_name, replica_key(change.entry), value, ends)

    def _put(self, change: pb.Put) -> Answer:
        self._set(change, change.value, change.ttl_ms if change.HasField("ttl_ms") else None)
        return True, pb.REASON_NONE

    def _insert(self, change: pb.Insert) -> Answer:
        ttl_ms = change.ttl_ms if change.HasField("ttl_ms") else None
        if change.condition == pb.CONDITION_ALWAYS and not change.keep_ttl:
            self._set(change, change.value, ttl_ms)
            return True, pb.REASON_NONE
        sight = self._look(change.cache_name, change.entry)
        found = sight.value is not None
        if change.condition == pb.CONDITION_ABSENT and found:
            return False, pb.REASON_PRESENT
        if change.condition in (pb.CONDITION_PRESENT, pb.CONDITION_UNCHANGED) and not found:
            return False, pb.REASON_ABSENT
        if change.condition == pb.CONDITION_UNCHANGED and sight.version != change.expected_version:
            return False, pb.REASON_CHANGED
        self._set(change, change.value, ttl_ms, keep=sight if change.keep_ttl and found else None)
        return True, pb.REASON_NONE

    def _remove(self, change: pb.Remove | pb.Del) -> Answer:
        cache, entry = change.cache_name, change.entry
        found = self._look(cache, entry).value is not None
        # Also where nothing is found here: a host that was full may lack what others have.
        self._effects.append(pb.Effect(delete=pb.DeleteEffect(cache_name=cache, entry=entry)))
        self._remember(cache, replica_key(entry), None)
        return found, pb.REASON_NONE if found else pb.REASON_ABSENT

    def _touch(self, change: pb.Touch) -> Answer:
        cache, entry = change.cache_name, change.entry
        sight = self._look(cache, entry)
        if sight.value is None:
            return False, pb.REASON_ABSENT
        ttl_ms = change.ttl_ms if change.HasField("ttl_ms") else None
        if max(sight.length, len(sight.value)) > TOUCHED_BYTES:
            return self._touch_large(change, sight, ttl_ms)
        effect = pb.TouchEffect(cache_name=cache, entry=entry)
        if ttl_ms is not None:
            effect.ttl_ms = ttl_ms
        self._effects.append(pb.Effect(touch=effect))
        ends = expires_at(self._now_ms, ttl_ms)
        self._remember(cache, replica_key(entry), bytes(sight.value), ends)
        # The time to live stands before the value, and a page that was committed is not changed in place.
        self._rewritten += len(sight.value)
        return True, pb.REASON_NONE

    def _touch_large(self, change: pb.Touch, sight: Sight, ttl_ms: int | None) -> Answer:
        """Every replica writes the whole value anew: so it counts for that, as if it were set."""
        value = sight.value
        if not sight.place:
            item = self._replica.item(change.cache_name, change.entry)
            value = None if item is None else item.value
        if value is None:
            return False, pb.REASON_ABSENT  # it has expired since it was looked at
        self._set(change, bytes(value), ttl_ms)
        return True, pb.REASON_NONE

    def _increment(self, change: pb.Increment) -> Answer:
        sight = self._look(change.cache_name, change.entry)
        if sight.value is None:
            return False, pb.REASON_ABSENT
        codec = self._codecs.get(change.cache_name, PLAIN)
        number = codec.integer(change.entry, sight.value)
        if number is None:
            return False, pb.REASON_NOT_AN_INTEGER
        number += integer_from_bytes(change.delta)
        self._value = integer_to_bytes(number)
        self._set(change, codec.encode(change.entry, number), None, keep=sight)
        return True, pb.REASON_NONE

    def _clear(self, change: pb.Clear) -> Answer:
        self._clear_all(change.cache_name)
        return True, pb.REASON_NONE

    def _clear_all(self, cache: str) -> None:
        self._effects.append(pb.Effect(clear=pb.ClearEffect(cache_name=cache)))
        if cache in self._pending:
            self._undo.append((self._pending, cache, self._pending.pop(cache)))
        self._undo.append((self._cleared, cache, self._cleared.get(cache)))
        self._cleared[cache] = self._index
        self._order.append((self._index, cache, None))
