"""The bounded table of recent requests: it makes a retried change take effect once.

The table is a function of the log alone (the last N entries that carry a req_id), so it is the same on every node.
It also covers entries that are in the log and not yet applied; those go again when the log is truncated.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .messages import Entry


class Recorded(NamedTuple):
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs
    outcome: bytes


class RequestTable:
    def __init__(self, limit: int, recorded: Iterable[tuple[str, Recorded]] = ()) -> None:
        self._limit = limit
        self._recorded: OrderedDict[str, Recorded] = OrderedDict(recorded)
        # Requests at or below this index may have been forgotten.
        self.floor = 0

    def __len__(self) -> int:
        return len(self._recorded)

    def find(self, req_id: str) -> Recorded | None:
        return self._recorded.get(req_id)

    def record(self, entry: Entry) -> None:
        if not entry.req_id:
            return
        self._recorded[entry.req_id] = Recorded(entry.index, entry.outcome)
        while len(self._recorded) > self._limit:
            _, oldest = self._recorded.popitem(last=False)
            self.floor = max(self.floor, oldest.index)

    def forget(self, dropped: Iterable[Entry]) -> None:
        """Entries were cut off the log before they were committed."""
        for entry in dropped:
            known = self._recorded.get(entry.req_id)
            if known is not None and known.index == entry.index:
                del self._recorded[entry.req_id]

    def replace(self, recorded: Iterable[tuple[str, Recorded]], floor: int) -> None:
        """Take over the table of a snapshot."""
        self._recorded = OrderedDict(recorded)
        self.floor = floor

    def clear(self) -> None:
        self._recorded.clear()
        self.floor = 0

    def items(self, last: int | None = None) -> list[tuple[str, Recorded]]:
        """What is recorded of the entries up to `last`, or of all, oldest first."""
        return [one for one in self._recorded.items() if last is None or one[1].index <= last]
