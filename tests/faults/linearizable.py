"""Whether a history could have happened on one copy, every operation at one instant between its begin and its end.

Two judges. `register_violation` needs unique values and takes O(n log n): the zones of Gibbons and Korach (Testing
Shared Memories, 1997). `wgl` is the general search of Wing, Gong and Lowe for any sequential specification, and takes
exponential time at worst: it judges the first one on small histories, and counters.

Neither looks at misses: a cache may miss at any time.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable
from typing import NamedTuple

from tests.faults.history import FOREVER, WRITES, History, Operation

State = Hashable
# What an operation makes of a state: the states after it; empty where it cannot have happened in that one.
Step = Callable[[State, Operation], Iterable[State]]


class Zone(NamedTuple):
    """Where a value must have been the value: from the first end to the last begin of what wrote or read it.

    With the end before the begin, the register held it all that time (a forward zone). Else everything can have
    happened at one instant anywhere between the two (a backward zone).
    """

    first_end: int
    last_begin: int
    value: object

    @property
    def forward(self) -> bool:
        return self.first_end < self.last_begin

    @property
    def low(self) -> int:
        return min(self.first_end, self.last_begin)

    @property
    def high(self) -> int:
        return max(self.first_end, self.last_begin)


def register_violation(history: Iterable[Operation]) -> str | None:
    """Why the writes and hits of one key cannot be those of one register; None where they can."""
    writes: History = []
    reads: dict[object, History] = {}
    for one in history:
        if one.may_have_written:
            writes.append(one)
        elif one.hit:
            reads.setdefault(one.value, []).append(one)
    zones = []
    for write in writes:
        seen = reads.pop(write.value, []) if write.value is not None else []
        if write.outcome == "unknown" and not seen:
            continue  # it may never have happened
        if any(read.end < write.begin for read in seen):
            return f"{write.value!r} was read before it was written"
        ends = [read.end for read in seen] + [write.end] * (write.outcome == "ok")
        zones.append(Zone(min(ends), max(one.begin for one in [write, *seen]), write.value))
    if reads:
        return f"{next(iter(reads))!r} was read and never written"
    return _conflict(zones)


def _conflict(zones: list[Zone]) -> str | None:
    forward = sorted(zone for zone in zones if zone.forward)
    for earlier, later in itertools.pairwise(forward):
        if later.low < earlier.high:
            return f"{earlier.value!r} and {later.value!r} were both the value at one time"
    starts = [zone.low for zone in forward]
    for zone in zones:
        at = bisect_right(starts, zone.low) - 1
        if not zone.forward and at >= 0 and starts[at] < zone.low and zone.high < forward[at].high:
            return f"{zone.value!r} was written and overwritten while {forward[at].value!r} was the value"
    return None


def wgl(history: History, step: Step, initial: State) -> bool:
    """Whether some order of the operations that respects their times is one that `step` allows.

    Operations with the outcome "unknown" may happen at any time after their begin, or never.
    """
    operations = sorted(history, key=lambda one: one.begin)
    ends = [FOREVER if one.outcome == "unknown" else one.end for one in operations]
    required = sum(1 << number for number, end in enumerate(ends) if end < FOREVER)
    pending = [(0, initial)]
    visited = set(pending)
    while pending:
        done, state = pending.pop()
        if done & required == required:
            return True
        # Only what began before everything that is left has ended can be the next.
        horizon = min(end for number, end in enumerate(ends) if not done >> number & 1)
        for number, operation in enumerate(operations):
            if operation.begin > horizon:
                break
            if done >> number & 1:
                continue
            for after in step(state, operation):
                reached = (done | 1 << number, after)
                if reached not in visited:
                    visited.add(reached)
                    pending.append(reached)
    return False


def register(state: State, operation: Operation) -> Iterable[State]:
    """One key with unique values; None is absent. Adds decide as they must."""
    match operation.kind, operation.outcome:
        case "get", "ok":
            return [state] if state == operation.value else []
        case "get", _:
            return [state]
        case "add", "ok":
            return [operation.value] if state is None else []
        case "add", "no":
            return [state] if state is not None else []
        case "add", "unknown":
            return [state if state is not None else operation.value]
        case kind, "ok" | "unknown" if kind in WRITES:
            return [operation.value]
    return [state]


def blind_register(state: State, operation: Operation) -> Iterable[State]:
    """The same with adds as plain writes, which is all that `register_violation` looks at."""
    if operation.kind == "add":
        return [operation.value] if operation.may_have_written else [state]
    return register(state, operation)


def counter(state: State, operation: Operation) -> Iterable[State]:
    """A number that is incremented by one, set by nobody."""
    if operation.kind == "incr" and operation.outcome in {"ok", "unknown"}:
        assert isinstance(state, int)
        after = state + 1
        return [after] if operation.outcome == "unknown" or operation.value == after else []
    return [state] if operation.value in {None, state} else []
