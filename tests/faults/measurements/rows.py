"""What a measurement is, and the rows of the report that it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.faults.cluster import Cluster
from tests.faults.history import History
from tests.faults.judge import writes
from tests.faults.recording import Plan, Recorders

STEADY = Plan({"set": 1}, rate=100, levels=["quorum"])
SECOND = 1e9
ELECTION_TIMEOUT_S = 2.0
LEASE_S = 1.0
MIB = 1 << 20


@dataclass(frozen=True)
class Row:
    """One line of the report. `met` says whether `measured` is what was `wanted`."""

    what: str
    wanted: str
    measured: str
    met: bool


class Drawn(list[Row]):
    """Rows with a picture beside them, as SVG."""

    picture = ""


Measure = Callable[[Cluster, Recorders, float], list[Row]]


@dataclass(frozen=True)
class Measurement:
    """What to do to a cluster, and the cluster that it takes; `environment` is that of its hosts."""

    measure: Measure
    hosts: int = 3
    environment: Mapping[str, str] = field(default_factory=dict)


def none(what: str, found: int) -> Row:
    """A row of something that must not happen at all."""
    return Row(what, "0", f"{found:,}", found == 0)


class Place(NamedTuple):
    """How often the leader changed in the life of a cluster, and its term."""

    changes: int
    term: int


def places(cluster: Cluster) -> Place:
    return Place(len(cluster.leaderships()), cluster.term())


def unchanged(what: str, before: Place, after: Place) -> Row:
    """A row of something that must neither change the leader nor cost a term."""
    changes, terms = after.changes - before.changes, after.term - before.term
    return Row(f"{what}: leader changes (terms)", "0 (0)", f"{changes} ({terms})", changes == terms == 0)


def ratio(what: str, most: float, found: float) -> Row:
    """A row of what something may grow to at most, as a multiple."""
    return Row(what, f"{most:g} times", f"{found:.1f} times", found <= most)


def grown(what: str, size: int, limit: int = 64 * MIB) -> Row:
    """A row of memory that was taken."""
    return Row(what, mib(limit), mib(size), size <= limit)


def times(count: int, scale: float) -> int:
    return max(2, round(count * scale))


def p99(history: History) -> float:
    waits = sorted(one.end - one.begin for one in writes(history))
    return waits[int(len(waits) * 0.99)] / SECOND


def ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"


def percent(share: float) -> str:
    # Cut, not rounded: 99.999 % is not all.
    return f"{int(share * 100_000) / 1000:g} %"


def mib(size: float) -> str:
    return f"{size / MIB:.0f} MiB"
