"""Overlay: the leader's replica as it will be once everything in the order is applied.

Knows entries, and not what changes do.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from django_hacache.replica.clock import is_live
from django_hacache.replica.layout import replica_key
from django_hacache.values.serializers import INTEGER_BYTES_MAX

if TYPE_CHECKING:
    from django_hacache.replica.replica import Replica

# What arithmetic needs of a value, signed perhaps: one that has more is no integer to it.
HEAD_BYTES = INTEGER_BYTES_MAX + 64


class Sight(NamedTuple):
    """An entry as the next change finds it.

    Of one that is in the replica the value is the first HEAD_BYTES, of which `length` may be more.
    """

    value: bytes | memoryview
    version: int
    expires_at: int
    place: int  # index of the log entry that left it so; 0: it is in the replica
    length: int = 0


class Overlay:
    """Shows a replica as it will be once all is applied that was noted here.

    pending: by cache and replica key, the index of the log entry that left it so, and how; None: it is gone.
    cleared: by cache, the index of the log entry that emptied it.
    order: what was noted, oldest first; the key None is a clear.
    """

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self.pending: dict[str, dict[bytes, tuple[int, Sight | None]]] = {}
        self.cleared: dict[str, int] = {}
        # What the entry that is being made has replaced, latest last.
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []
        self.order: deque[tuple[int, str, bytes | None]] = deque()
        self._index = 0

    def begin(self, index: int) -> None:
        """What is noted from now on is done by the entry at `index`."""
        self._index = index
        self._undo.clear()

    def take_back(self) -> None:
        """Forget what was noted since begin()."""
        for mapping, key, before in reversed(self._undo):
            if before is None:
                mapping.pop(key, None)
            else:
                mapping[key] = before
        while self.order and self.order[-1][0] == self._index:
            self.order.pop()

    def find(self, cache: str, entry: str) -> Sight | None:
        """What a condition sees: live entries only."""
        pending = self.pending.get(cache)
        known = pending.get(replica_key(entry)) if pending else None
        if known is not None:
            sight = known[1]
            return sight if sight is not None and is_live(sight.expires_at) else None
        if cache in self.cleared:
            return None
        found = self._replica.head(cache, entry, HEAD_BYTES)
        if found is None:
            return None
        item, length = found
        return Sight(item.value, item.version, item.expires_at, 0, length)

    def note(self, cache: str, key: bytes, sight: Sight | None) -> None:
        """From now on the entry under this replica key is found so; None: it is gone."""
        pending = self.pending.get(cache)
        if pending is None:
            self._undo.append((self.pending, cache, None))
            pending = self.pending[cache] = {}
        self._undo.append((pending, key, pending.get(key)))
        pending[key] = (self._index, sight)
        self.order.append((self._index, cache, key))

    def note_cleared(self, cache: str) -> None:
        """From now on nothing is found in the cache."""
        if cache in self.pending:
            self._undo.append((self.pending, cache, self.pending.pop(cache)))
        self._undo.append((self.cleared, cache, self.cleared.get(cache)))
        self.cleared[cache] = self._index
        self.order.append((self._index, cache, None))

    def covers(self, cache: str, key: bytes) -> bool:
        """Whether the order decides what is under this replica key, whatever the replica holds."""
        return cache in self.cleared or key in self.pending.get(cache, ())

    def applied(self, index: int) -> None:
        """The replica now holds everything up to `index`."""
        while self.order and self.order[0][0] <= index:
            at, cache, key = self.order.popleft()
            if key is None:
                if self.cleared.get(cache) == at:
                    del self.cleared[cache]
            elif (pending := self.pending.get(cache)) and (known := pending.get(key)) and known[0] == at:
                del pending[key]
                if not pending:
                    del self.pending[cache]

    def abandon(self) -> None:
        """Forget what may never be applied."""
        self.pending.clear()
        self.cleared.clear()
        self.order.clear()
