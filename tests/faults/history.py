"""What clients did to a cluster, as a list of operations. Pure data: knows no cluster, no file and no clock."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass

WRITES = frozenset({"set", "add", "delete"})
# Levels at which a majority has a write: it is in every later leader's log.
SAFE = frozenset({"quorum", "all"})
FOREVER = 1 << 62


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of a cache method. Times are of one monotonic clock (ns).

    kind: get, set, add, delete or incr.
    value: what was written (unique), read, or counted; None for a delete and a miss.
    outcome: "ok"; "miss" of a get; "no" of an add that found a value, or an incr that found none;
        "error" where the change did not happen; "unknown" where it may have, or may yet.
    """

    process: str
    host: str
    key: str
    kind: str
    value: str | int | None
    begin: int
    end: int
    level: str
    outcome: str

    @property
    def hit(self) -> bool:
        return self.kind == "get" and self.outcome == "ok"

    @property
    def may_have_written(self) -> bool:
        return self.kind in WRITES and self.outcome in {"ok", "unknown"}

    @property
    def safe(self) -> bool:
        """Acknowledged, and a majority has it."""
        return self.kind in WRITES and self.outcome == "ok" and self.level in SAFE

    def to_line(self) -> str:
        return json.dumps(astuple(self)) + "\n"

    @classmethod
    def of_line(cls, line: str) -> Operation:
        return cls(*json.loads(line))


History = list[Operation]


def of_each_key(history: Iterable[Operation]) -> Iterator[tuple[str, History]]:
    """The operations on each key, in the order of their beginnings."""
    keys: dict[str, History] = defaultdict(list)
    for operation in sorted(history, key=lambda one: one.begin):
        keys[operation.key].append(operation)
    yield from keys.items()
