"""The store that changes are carried out on in a cluster: the leader's replica, with the order above it.

What is done to it is drafted as the effects of the log entry that is being made, and noted in the overlay, so that the
next change finds it. Knows neither requests nor the core.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_hacache.node.evaluation.overlay import Overlay, Sight
from django_hacache.node.requests.validation import ENTRY_BYTES_MAX
from django_hacache.node.storage.effects import Draft, expires_at, left_ms, version_of
from django_hacache.replica.clock import NEVER
from django_hacache.replica.layout import replica_key
from django_hacache.values.signing import PLAIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from django_hacache.replica.replica import Replica
    from django_hacache.values.signing import Codec

# To give a value another time to live is to write it anew. One of more bytes counts for that.
TOUCHED_BYTES = 8 << 10


class LeaderStore:
    """See changes/store.py."""

    def __init__(
        self, replica: Replica, codecs: Mapping[str, Codec], *, entry_bytes_max: int = ENTRY_BYTES_MAX
    ) -> None:
        """Take the replica, and how this host's settings store the values of each cache.

        What takes more than `entry_bytes_max` in the log raises Refused.
        """
        self._replica = replica
        self._codecs = codecs
        self._draft = Draft(entry_bytes_max)
        self.overlay = Overlay(replica)
        self._index = self._now_ms = 0
        self.rewritten = 0
        """Bytes that replicas write anew for the entry beside its effects."""

    def begin(self, index: int, now_ms: int) -> None:
        """What is done from now on is the entry at `index`."""
        self._index, self._now_ms = index, now_ms
        self.rewritten = 0
        self._draft.begin()
        self.overlay.begin(index)

    def effects(self) -> bytes:
        """What was done since begin(), as it stands in the log."""
        return self._draft.serialized()

    def find(self, cache: str, key: str) -> Sight | None:
        return self.overlay.find(cache, key)

    def put(self, cache: str, key: str, value: bytes, ttl_ms: int | None) -> None:
        position = self._draft.set(cache, key, value, ttl_ms)
        ends = NEVER if ttl_ms is None else expires_at(self._now_ms, ttl_ms)
        self._note(cache, key, position, value, ends, len(value))

    def put_if_absent(self, cache: str, key: str, value: bytes, ttl_ms: int | None) -> bool:
        if self.overlay.find(cache, key) is not None:
            return False
        self.put(cache, key, value, ttl_ms)
        return True

    def replace(self, cache: str, key: str, value: bytes, found: Sight) -> None:
        ends = found.expires_at
        left = None if ends == NEVER else left_ms(ends, self._now_ms)
        position = self._draft.set(cache, key, value, left, keep_ttl=True)
        self._note(cache, key, position, value, ends, len(value))

    def renew(self, cache: str, key: str, found: Sight, ttl_ms: int | None) -> bool:
        length = max(found.length, len(found.value))
        if length > TOUCHED_BYTES:
            return self._renew_large(cache, key, found, ttl_ms)
        position = self._draft.touch(cache, key, ttl_ms)
        self._note(cache, key, position, bytes(found.value), expires_at(self._now_ms, ttl_ms), length)
        # The time to live stands before the value, and a page that was committed is not changed in place.
        self.rewritten += length
        return True

    def _renew_large(self, cache: str, key: str, found: Sight, ttl_ms: int | None) -> bool:
        """Every replica writes the whole value anew: so it counts for that, as if it were set."""
        value: bytes | memoryview | None = found.value
        if not found.place:
            item = self._replica.item(cache, key)
            value = None if item is None else item.value
        if value is None:
            return False
        self.put(cache, key, bytes(value), ttl_ms)
        return True

    def remove(self, cache: str, key: str) -> bool:
        found = self.overlay.find(cache, key) is not None
        # Also where nothing is found here: a host that was full may lack what others have.
        self._draft.delete(cache, key)
        self.overlay.note(cache, replica_key(key), None)
        return found

    def remove_keys(self, cache: str, keys: Iterable[bytes]) -> None:
        """Remove what has these replica keys, except where the order decides what is there."""
        chosen = [key for key in keys if not self.overlay.covers(cache, key)]
        if chosen:
            self._draft.remove_keys(cache, chosen)
            for key in chosen:
                self.overlay.note(cache, key, None)

    def clear(self, cache: str) -> None:
        self._draft.clear(cache)
        self.overlay.note_cleared(cache)

    def codec_of(self, cache: str) -> Codec:
        return self._codecs.get(cache, PLAIN)

    def _note(self, cache: str, key: str, position: int, value: bytes, ends: int, length: int) -> None:
        """The effect at `position` leaves a value of so many bytes, or of more: see Sight."""
        index = self._index
        self.overlay.note(
            cache, replica_key(key), Sight(value, version_of(index, position), ends, index, length)
        )
