"""What django_hacache promises (docs/explanation/consistency.md), checked against a history.

Clients see no order of the changes, so it is inferred: a value is older than another when it was certainly in place,
acknowledged or read by somebody, before the write of the other began. What is concurrent has no order and violates
nothing. Misses are availability and never a violation, except at the end (`lost`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from tests.faults.history import FOREVER, History, Operation, of_each_key
from tests.faults.linearizable import register_violation

LEASE_NS = 1_000_000_000


class Values:
    """The values of one key: when each was written, and since when it was certainly in place."""

    def __init__(self, history: History) -> None:
        self.begun: dict[object, int] = {}
        self.placed: dict[object, int] = {}
        for one in history:
            if one.may_have_written and one.value is not None:
                self.begun[one.value] = one.begin
                self.placed[one.value] = one.end if one.outcome == "ok" else FOREVER
        for one in history:
            if one.hit and one.value in self.placed:
                self.placed[one.value] = min(self.placed[one.value], one.end)


def violations(history: History, *, leader_reads: Callable[[Operation], bool] | None = None) -> list[str]:
    """Everything that breaks a promise, in words.

    leader_reads: which reads were those of the leader's own host. They are linearizable with the writes, where all of
        those are at a safe level.
    """
    found: list[str] = []
    for key, operations in of_each_key(one for one in history if one.kind != "incr"):
        values = Values(operations)
        found += phantoms(operations, values)
        at_all = [one for one in operations if one.safe and one.level == "all"]
        at_quorum = [one for one in operations if one.safe]
        found += stale(operations, values, at_all, patience_ns=0)
        found += stale(operations, values, at_quorum, patience_ns=LEASE_NS)
        for host in sorted({one.host for one in operations}):
            reads = [one for one in operations if one.host == host]
            found += stale(reads, values, [one for one in at_quorum if one.host == host], patience_ns=0)
        for process in sorted({one.process for one in operations}):
            found += backwards([one for one in operations if one.process == process and one.hit], values)
        if leader_reads is not None:
            why = register_violation(one for one in operations if one.kind != "get" or leader_reads(one))
            found += [f"{key}, read at the leader: {why}"] if why else []
    return found


def phantoms(history: History, values: Values) -> Iterator[str]:
    """Hits of what nobody has written, or of a change that was said not to have happened."""
    for one in history:
        if one.hit and one.value not in values.begun:
            yield f"{_told(one)}: nobody wrote it"
        elif one.hit and one.end < values.begun[one.value]:
            yield f"{_told(one)}: before it was written"


def stale(history: History, values: Values, writes: History, *, patience_ns: int) -> Iterator[str]:
    """Hits that are older than one of `writes` that was acknowledged more than `patience_ns` before they began."""
    acknowledged = iter(sorted(writes, key=lambda one: one.end))
    following = next(acknowledged, None)
    # The latest begin of those acknowledged by then: what is older than any of them is older than that one.
    latest = 0
    for read in sorted((one for one in history if one.hit), key=lambda one: one.begin):
        while following is not None and following.end + patience_ns < read.begin:
            latest = max(latest, following.begin)
            following = next(acknowledged, None)
        if values.placed.get(read.value, FOREVER) < latest:
            yield f"{_told(read)}: overwritten by a write that was acknowledged {patience_ns} ns earlier"


def backwards(reads: History, values: Values) -> Iterator[str]:
    """Hits of one process that are older than an earlier hit of it."""
    latest = 0
    for read in reads:
        if values.placed.get(read.value, FOREVER) < latest:
            yield f"{_told(read)}: the same process had read a newer one"
        latest = max(latest, values.begun.get(read.value, 0))


def lost(history: History, found: dict[str, object], host: str = "a host") -> list[str]:
    """Keys whose value at the end (`found`, without the keys that miss) is older than an acknowledged write."""
    wrong = []
    for key, operations in of_each_key(one for one in history if one.kind != "incr"):
        values = Values(operations)
        latest = max((one.begin for one in operations if one.safe), default=0)
        if key in found:
            if found[key] not in values.begun:
                wrong.append(f"{key} at {host}: {found[key]!r}, and nobody wrote it")
            elif values.placed[found[key]] < latest:
                wrong.append(f"{key} at {host}: {found[key]!r}, older than what was acknowledged")
        elif latest and not _may_be_deleted(operations):
            wrong.append(f"{key} at {host}: nothing, and no delete explains it")
    return wrong


def _may_be_deleted(history: History) -> bool:
    """Whether a delete may be the last change: no safe set or add began after it had certainly happened."""
    stored = max((one.begin for one in history if one.safe and one.kind != "delete"), default=0)
    deletes = [one for one in history if one.kind == "delete" and one.may_have_written]
    return any(one.outcome == "unknown" or one.end >= stored for one in deletes)


def miscounted(history: Iterable[Operation], start: int, end: int) -> list[str]:
    """What is wrong with increments by one of a counter that went from `start` to `end`."""
    calls = [one for one in history if one.kind == "incr"]
    acknowledged = [one for one in calls if one.outcome == "ok"]
    unknown = sum(one.outcome == "unknown" for one in calls)
    wrong = [f"{_told(one)}: the counter was gone" for one in calls if one.outcome == "no"]
    counted = end - start
    if not len(acknowledged) <= counted <= len(acknowledged) + unknown:
        wrong.append(f"{counted} counted, {len(acknowledged)} acknowledged, {unknown} unknown")
    numbers = [one.value for one in acknowledged]
    if len(set(numbers)) != len(numbers):
        wrong.append("a number was given to two calls")
    wrong += [f"{_told(one)}: out of range" for one in acknowledged if not start < int(one.value) <= end]
    highest, by_end = 0, iter(sorted(acknowledged, key=lambda one: one.end))
    earlier = next(by_end, None)
    for one in sorted(acknowledged, key=lambda one: one.begin):
        while earlier is not None and earlier.end < one.begin:
            highest = max(highest, int(earlier.value))
            earlier = next(by_end, None)
        if int(one.value) <= highest:
            wrong.append(f"{_told(one)}: an earlier call had got {highest}")
    return wrong


def _told(one: Operation) -> str:
    return f"{one.process} {one.kind} {one.key} {one.value!r} at {one.begin}"
