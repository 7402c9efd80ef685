"""The tail of the replicated log, bounded in bytes. Knows nothing of terms beyond comparing them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_hacache.consensus.messages import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# More cost the one who sends them, and the one who takes them, a noticeable time whatever their size is.
BATCH_ENTRIES_MAX = 1024
# So many entries, and bytes of them or one that has more, are dropped at a time: no fewer than come at a time.
DROPPED_ENTRIES_MAX = BATCH_ENTRIES_MAX
DROPPED_BYTES_MAX = 1 << 20


class Log:
    """Entries after `base_index`; everything up to it lives on in the replica alone."""

    __slots__ = ("_entries", "base_index", "base_term", "bytes", "last_index")

    def __init__(self, base_index: int = 0, base_term: int = 0, entries: Iterable[Entry] = ()) -> None:
        self.base_index = self.last_index = base_index
        self.base_term = base_term
        self._entries: list[Entry] = []
        self.bytes = 0
        for entry in entries:
            self.append(entry)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def last_term(self) -> int:
        return self._entries[-1].term if self._entries else self.base_term

    def term_at(self, index: int) -> int | None:
        """The term of the entry at `index`; None where the log does not reach."""
        position = index - self.base_index
        if position == 0:
            return self.base_term
        if 0 < position <= len(self._entries):
            return self._entries[position - 1].term
        return None

    def between(self, first: int, last: int) -> Sequence[Entry]:
        """Entries with first <= index <= last."""
        return self._entries[max(first - self.base_index - 1, 0) : max(last - self.base_index, 0)]

    def batch_from(self, first: int, limit: int, least: int = 1) -> tuple[Entry, ...]:
        """Entries from `first` on, up to `limit` bytes, at least so many where there are."""
        batch: list[Entry] = []
        size = 0
        position = first - self.base_index - 1
        for entry in self._entries[position : position + BATCH_ENTRIES_MAX]:
            size += entry.size
            if len(batch) >= least and size > limit:
                break
            batch.append(entry)
        return tuple(batch)

    def append(self, entry: Entry) -> None:
        assert entry.index == self.last_index + 1, "the log has no gaps"
        self._entries.append(entry)
        self.last_index = entry.index
        self.bytes += entry.size

    def truncate_from(self, index: int) -> list[Entry]:
        """Drop the entries from `index` on; returns them."""
        assert index > self.base_index, "what the replica holds cannot be taken back"
        position = index - self.base_index - 1
        dropped = self._entries[position:]
        del self._entries[position:]
        self.last_index = self.base_index + len(self._entries)
        self.bytes -= sum(entry.size for entry in dropped)
        return dropped

    def compact_to(self, index: int) -> None:
        """Forget the entries up to and including `index`."""
        term = self.term_at(index)
        assert term is not None, "only what is in the log can be compacted"
        position = index - self.base_index
        self.bytes -= sum(entry.size for entry in self._entries[:position])
        del self._entries[:position]
        self.base_index, self.base_term = index, term

    def compaction_point(self, applied: int, limit: int) -> int | None:
        """The index to compact to; None while the log is within `limit`.

        What is not within it goes, and a part of what is, so that this is seldom: half of it at most, and only as much
        as is dropped at a time. If that is too little, there is more to drop the next time.
        """
        if self.bytes <= limit:
            return None
        dropped, most = 0, min(self.bytes - limit // 2, DROPPED_BYTES_MAX)
        point = self.base_index
        for entry in self._entries[:DROPPED_ENTRIES_MAX]:
            if (
                dropped >= most
                or (dropped and dropped + entry.size > DROPPED_BYTES_MAX)
                or entry.index > applied
            ):
                break
            dropped += entry.size
            point = entry.index
        return point if point > self.base_index else None

    def reset(self, index: int, term: int) -> None:
        """Begin anew after this place."""
        self._entries.clear()
        self.bytes = 0
        self.base_index, self.base_term = index, term
        self.last_index = index

    def up_to_date(self, last_index: int, last_term: int) -> bool:
        """Whether a candidate with this last entry may lead (Raft thesis, section 3.6.1)."""
        # Protected: skip_the_up_to_date_check
        return (last_term, last_index) >= (self.last_term, self.last_index)
