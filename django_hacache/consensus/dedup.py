"""The bounded table of recent requests: it makes a retried change take effect once.

The table is a function of the log alone (the last entries that carry a req_id, within a number and within a size), so
it is the same on every node. It also covers entries that are in the log and not yet applied; those go again when the
log is truncated.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from django_hacache.consensus.config import CoreConfig
from django_hacache.consensus.log import Log
from django_hacache.consensus.messages import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable


class Recorded(NamedTuple):
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs
    outcome: bytes


# What a record takes beside its req_id and its outcome, about.
RECORD_BYTES = 256


class RequestTable:
    """At most `limit` requests, and at most `limit_bytes` of them: an outcome has a flag for each change of a batch."""

    def __init__(
        self,
        limit: int,
        limit_bytes: int,
        recorded: Iterable[tuple[str, Recorded]] = (),
        floor: int = 0,
    ) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._recorded: OrderedDict[str, Recorded] = OrderedDict()
        self._bytes = 0
        # Requests at or below this index may have been forgotten.
        self.floor = 0
        self.replace(recorded, floor)

    @classmethod
    def of_log(
        cls, config: CoreConfig, log: Log, recorded: Iterable[tuple[str, Recorded]], floor: int
    ) -> RequestTable:
        """The table that a node starts with: what the log has dropped, as stored, and what is in it.

        What had been forgotten of the log itself is found out again, from the log.
        """
        floor = min(floor, log.base_index)
        table = cls(config.request_table, config.request_table_bytes, recorded, floor)
        for entry in log.between(log.base_index + 1, log.last_index):
            table.record(entry)
        return table

    def __len__(self) -> int:
        return len(self._recorded)

    @property
    def bytes(self) -> int:
        return self._bytes

    def find(self, req_id: str) -> Recorded | None:
        return self._recorded.get(req_id)

    def record(self, entry: Entry) -> None:
        # What was recorded and forgotten stays so: it is older than all that is here.
        if entry.req_id and entry.index > self.floor:
            known = self._recorded.get(entry.req_id)
            if known is not None and known.index == entry.index and known.outcome == entry.outcome:
                return
            self._put(entry.req_id, Recorded(entry.index, entry.outcome))
            self._forget_oldest()

    def forget(self, dropped: Iterable[Entry]) -> None:
        """Entries were cut off the log before they were committed."""
        for entry in dropped:
            # What comes in their places has not been forgotten.
            self.floor = min(self.floor, entry.index - 1)
            known = self._recorded.get(entry.req_id)
            if known is not None and known.index == entry.index:
                self._remove(entry.req_id)

    def replace(self, recorded: Iterable[tuple[str, Recorded]], floor: int) -> None:
        """Take over the table of a snapshot."""
        self.clear()
        self.floor = floor
        for req_id, one in recorded:
            self._put(req_id, one)
        self._forget_oldest()

    def clear(self) -> None:
        self._recorded.clear()
        self._bytes = 0
        self.floor = 0

    def items(self, last: int | None = None) -> list[tuple[str, Recorded]]:
        """What is recorded of the entries up to `last`, or of all, oldest first."""
        return [one for one in self._recorded.items() if last is None or one[1].index <= last]

    def _put(self, req_id: str, recorded: Recorded) -> None:
        if req_id in self._recorded:
            self._remove(req_id)
        self._recorded[req_id] = recorded
        self._bytes += size_of(req_id, recorded)

    def _remove(self, req_id: str) -> None:
        self._bytes -= size_of(req_id, self._recorded.pop(req_id))

    def _forget_oldest(self) -> None:
        while len(self._recorded) > self._limit or self._bytes > self._limit_bytes:
            req_id, oldest = self._recorded.popitem(last=False)
            self._bytes -= size_of(req_id, oldest)
            self.floor = max(self.floor, oldest.index)


def size_of(req_id: str, recorded: Recorded) -> int:
    """What a record counts for, in bytes."""
    return len(req_id) + len(recorded.outcome) + RECORD_BYTES
