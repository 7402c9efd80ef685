"""Decides, on the leader, what a change does: a condition becomes a yes or no, arithmetic a result.

It sees the replica and, above it, what is in the order but not applied yet. What it returns are effects that every
replica can carry out without looking at anything.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from django_hacache.node.answers import change_of
from django_hacache.node.effects import expires_at, version_of
from django_hacache.replica.clock import is_live
from django_hacache.replica.layout import replica_key
from django_hacache.serializers import decode_integer, encode, integer_from_bytes, integer_to_bytes
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django_hacache.replica.replica import Replica


class Sight(NamedTuple):
    """An entry as the next change finds it; `value` None: known to be absent."""

    value: bytes | memoryview | None
    version: int
    expires_at: int
    place: int  # index of the log entry that left it so; 0: it is in the replica


ABSENT = Sight(None, 0, 0, 0)
Answer = tuple[bool, "pb.Reason.ValueType"]


class Decider:
    """The Evaluator of the consensus core, over one replica."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._pending: dict[tuple[str, bytes], Sight] = {}
        self._cleared: dict[str, int] = {}
        self._order: deque[tuple[int, str, bytes | None]] = deque()
        self._index = 0
        self._now_ms = 0
        self._effects: list[pb.Effect] = []
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

    # the interface that the core knows

    def evaluate(self, command: pb.CacheRequest, index: int, now: int) -> tuple[bytes, bytes]:
        """Return the serialized Effects and Outcome of a change that will have its place at `index`."""
        self._begin(index, now)
        change = change_of(command)
        changes: Iterable[Any] = (change,)
        if isinstance(change, pb.Batch):
            changes = (getattr(one, str(one.WhichOneof("change"))) for one in change.changes)
        outcome = pb.Outcome()
        for one in changes:
            took_effect, outcome.reason = self._deciders[type(one)](one)
            outcome.mod_res.append(took_effect)
        if self._value is not None:
            outcome.value = self._value
        return self._serialized(), outcome.SerializeToString()

    def abandon(self) -> None:
        """Forget what may never be applied."""
        self._pending.clear()
        self._cleared.clear()
        self._order.clear()

    # the interface for the shell

    def applied(self, index: int) -> None:
        """The replica now holds everything up to `index`."""
        while self._order and self._order[0][0] <= index:
            at, cache, key = self._order.popleft()
            if key is None:
                if self._cleared.get(cache) == at:
                    del self._cleared[cache]
            elif (sight := self._pending.get((cache, key))) is not None and sight.place == at:
                del self._pending[cache, key]

    def removal(self, cache: str, keys: Iterable[bytes], index: int, now: int) -> bytes:
        """The effects of an eviction of replica keys, except those that a change in the order has touched."""
        self._begin(index, now)
        chosen = [key for key in keys if (cache, key) not in self._pending and cache not in self._cleared]
        if not chosen:
            return b""
        self._effects.append(pb.Effect(remove_keys=pb.RemoveKeys(cache_name=cache, keys=chosen)))
        for key in chosen:
            self._remember(cache, key, None)
        return self._serialized()

    # what each kind of change does

    def _begin(self, index: int, now: int) -> None:
        self._index, self._now_ms = index, now
        self._effects = []
        self._value = None

    def _serialized(self) -> bytes:
        return pb.Effects(effects=self._effects).SerializeToString() if self._effects else b""

    def _look(self, cache: str, entry: str) -> Sight:
        """What a condition sees: live entries only."""
        sight = self._pending.get((cache, replica_key(entry)))
        if sight is None:
            if cache in self._cleared:
                return ABSENT
            item = self._replica.item(cache, entry)
            return Sight(item.value, item.version, item.expires_at, 0) if item else ABSENT
        if sight.value is not None and not is_live(sight.expires_at):
            return ABSENT
        return sight

    def _present(self, cache: str, entry: str) -> bool:
        """Whether replicas hold the entry when this change is applied, expired or not."""
        sight = self._pending.get((cache, replica_key(entry)))
        if sight is not None:
            return sight.value is not None
        return cache not in self._cleared and self._replica.present(cache, entry) is not None

    def _remember(self, cache: str, key: bytes, value: bytes | None, ends: int = 0) -> None:
        version = version_of(self._index, len(self._effects) - 1)
        self._pending[cache, key] = Sight(value, version, ends, self._index)
        self._order.append((self._index, cache, key))

    def _set(self, change: Any, value: bytes, ttl_ms: int | None, *, keep: Sight | None = None) -> None:
        effect = pb.SetEffect(cache_name=change.cache_name, entry=change.entry, value=value)
        if keep is not None:
            effect.keep_ttl = True
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
        if self._present(cache, entry):
            self._effects.append(pb.Effect(delete=pb.DeleteEffect(cache_name=cache, entry=entry)))
            self._remember(cache, replica_key(entry), None)
        return found, pb.REASON_NONE if found else pb.REASON_ABSENT

    def _touch(self, change: pb.Touch) -> Answer:
        cache, entry = change.cache_name, change.entry
        sight = self._look(cache, entry)
        if sight.value is None:
            return False, pb.REASON_ABSENT
        ttl_ms = change.ttl_ms if change.HasField("ttl_ms") else None
        effect = pb.TouchEffect(cache_name=cache, entry=entry)
        if ttl_ms is not None:
            effect.ttl_ms = ttl_ms
        self._effects.append(pb.Effect(touch=effect))
        ends = expires_at(self._now_ms, ttl_ms)
        self._remember(cache, replica_key(entry), bytes(sight.value), ends)
        return True, pb.REASON_NONE

    def _increment(self, change: pb.Increment) -> Answer:
        sight = self._look(change.cache_name, change.entry)
        if sight.value is None:
            return False, pb.REASON_ABSENT
        number = decode_integer(sight.value)
        if number is None:
            return False, pb.REASON_NOT_AN_INTEGER
        number += integer_from_bytes(change.delta)
        self._value = integer_to_bytes(number)
        self._set(change, encode(number), None, keep=sight)
        return True, pb.REASON_NONE

    def _clear(self, change: pb.Clear) -> Answer:
        cache = change.cache_name
        self._effects.append(pb.Effect(clear=pb.ClearEffect(cache_name=cache)))
        for key in [key for name, key in self._pending if name == cache]:
            del self._pending[cache, key]
        self._cleared[cache] = self._index
        self._order.append((self._index, cache, None))
        return True, pb.REASON_NONE
