"""What django_hacache is held to, and how each figure comes out of the results of a run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

from benchmarks.backends import ACKNOWLEDGED, ALL, BACKENDS, FAR, REFERENCE, REPLICATED, SIGNED
from benchmarks.words import milliseconds, number, times

if TYPE_CHECKING:
    from collections.abc import Callable

Measurements = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """One number that a run came to, what it was made of, and its lowest and highest value in a round."""

    value: float
    made_of: str
    span: tuple[float, float] | None = None


@dataclass(frozen=True)
class Target:
    """A bound for one figure."""

    what: str
    figure: Callable[[Measurements], Figure]
    bound: float
    at_least: bool
    unit: str = "times"

    def told(self, seen: Measurements) -> Figure | None:
        """What a run came to; None where it has not measured what the figure is made of."""
        try:
            return self.figure(seen)
        except KeyError:
            return None

    def is_met(self, figure: Figure) -> bool:
        return figure.value >= self.bound if self.at_least else figure.value <= self.bound

    def in_words(self, value: float) -> str:
        return f"{number(value)} {self.unit}".rstrip()


def found(seen: Measurements, path: str) -> Any:
    """What a run has at `path`: names with a slash between them."""
    return reduce(lambda part, name: part[name], path.split("/"), seen)


def _said(field: str, one: float, other: float) -> str:
    if field == "rate":
        return f"{number(one)} to {number(other)} a second"
    return f"{times(one)} to {times(other)}"


def ratio(ours: str, theirs: str, field: str, *, inverse: bool = False) -> Callable[[Measurements], Figure]:
    """Figure: `field` of one thing by that of another, or the other way round."""

    def figure(seen: Measurements) -> Figure:
        one, other = found(seen, ours), found(seen, theirs)
        said = _said(field, one[field], other[field])
        above, below = (other, one) if inverse else (one, other)
        pairs = zip(above[f"{field}_of_rounds"], below[f"{field}_of_rounds"], strict=True)
        by_round = [mine / theirs for mine, theirs in pairs]
        return Figure(above[field] / below[field], said, (min(by_round), max(by_round)))

    return figure


def place(name: str) -> str:
    return BACKENDS[name].label.removeprefix("django_hacache, ")


def faster(call: str, ours: str, bound: float, peer: str = REFERENCE, network: str = "") -> Target:
    """Target: a call takes `bound` times less time than with a peer."""
    what = f"{_where(network)}`{call}`, {place(ours)}: how many times faster than {BACKENDS[peer].short}"
    figure = ratio(f"{network}{call}/{ours}", f"{network}{call}/{peer}", "p50", inverse=True)
    return Target(what, figure, bound, at_least=True)


def at_most(call: str, ours: str, peer: str, bound: float, network: str = "") -> Target:
    """Target: a call takes at most `bound` times the time of a peer."""
    what = f"{_where(network)}`{call}`, {place(ours)}: times the time of {BACKENDS[peer].short}"
    figure = ratio(f"{network}{call}/{ours}", f"{network}{call}/{peer}", "p50")
    return Target(what, figure, bound, at_least=False)


def more(measurement: str, ours: str, peer: str, bound: float, what: str, network: str = "") -> Target:
    """Target: at least `bound` times as many a second as a peer."""
    what = f"{_where(network)}{what}, {place(ours)}: times as many as {BACKENDS[peer].short}"
    figure = ratio(f"{network}{measurement}/{ours}", f"{network}{measurement}/{peer}", "rate")
    return Target(what, figure, bound, at_least=True)


def _where(network: str) -> str:
    return f"{int(network.split('/')[1]) / 1000:g} ms to another host: " if network else ""


def slowest(measurement: str, ours: str, peer: str, bound: float, what: str) -> Target:
    """Target: p99 is at most `bound` times that of a peer."""
    what = f"p99 of {what}, {place(ours)}: times that of {BACKENDS[peer].short}"
    figure = ratio(f"{measurement}/{ours}", f"{measurement}/{peer}", "p99")
    return Target(what, figure, bound, at_least=False)


def signing(call: str) -> Target:
    """Target: a signature takes so many microseconds of a call."""

    def figure(seen: Measurements) -> Figure:
        one, other = seen[call][SIGNED], seen[call]["standalone"]
        pairs = zip(one["p50_of_rounds"], other["p50_of_rounds"], strict=True)
        by_round = [mine - theirs for mine, theirs in pairs]
        said = f"{times(one['p50'])} to {times(other['p50'])}"
        return Figure(one["p50"] - other["p50"], said, (min(by_round), max(by_round)))

    what = f"`{call}`, {place('standalone')}: what a signed value takes more"
    return Target(what, figure, 2, at_least=False, unit="µs")


def direct(ours: str) -> Target:
    def figure(seen: Measurements) -> Figure:
        one = seen["levels"]["direct"][ours]
        rounds = one["p50_of_rounds"]
        return Figure(one["p50"], f"p99 {times(one['p99'])}", (min(rounds), max(rounds)))

    return Target(f"`set` at direct, {place(ours)}", figure, 25, at_least=False, unit="µs")


def for_all(measurement: str, ours: str, which: str) -> Target:
    figure = ratio(f"{measurement}/all/{ours}", f"{measurement}/quorum/{ours}", "p50")
    what = f"`set` at all, {place(ours)}, {which}: times the time at quorum"
    return Target(what, figure, 1.5, at_least=False)


def cost(clients: str, who: str, bound: float, what: str) -> Target:
    """Target: a write at quorum takes so many microseconds of somebody's CPU."""

    def figure(seen: Measurements) -> Figure:
        one = seen["write_cost"][clients]
        return Figure(one[f"{who}_us"], f"{number(one['rate'])} writes a second")

    return Target(f"CPU time of a write at quorum, {what}: {who}", figure, bound, at_least=False, unit="µs")


def _entries_stored(seen: Measurements) -> Figure:
    one = seen["set_many"]["leader"]
    by_round = [1e9 / taken for taken in one["p50_of_rounds"]]
    return Figure(1e9 / one["p50"], f"{times(one['p50'])} a call", (min(by_round), max(by_round)))


def _node_memory(seen: Measurements) -> Figure:
    taken = seen["memory"]["leader"]["resident_empty"]
    return Figure(taken / 1e6, "resident memory of the leader's node")


def _all_memory(seen: Measurements) -> Figure:
    one = seen["memory"]["leader"]
    grown = (one["full"] - one["empty"]) / 1e6
    return Figure(
        one["times_payload"], f"{number(grown)} MB more for {number(one['payload'] / 1e6)} MB of values"
    )


def _worker_memory(seen: Measurements) -> Figure:
    one = seen["start_up"]["leader"]
    return Figure(one["resident_mb"], f"resident; {number(one['private_mb'])} MB of it private")


def _worker_import(seen: Measurements) -> Figure:
    one = seen["start_up"]["leader"]
    return Figure(one["import_ms"], f"and {milliseconds(one['first_use_ms'])} for the first two calls")


NODES = ("leader", "follower 1", "follower 2")


def _idle(seen: Measurements) -> Figure:
    shares = {name: seen["idle"][name]["cpu_percent"] for name in NODES}
    return Figure(
        max(shares.values()), ", ".join(f"{name} {number(share)} %" for name, share in shares.items())
    )


def grown(call: str, ours: str) -> Target:
    figure = ratio(f"growth/{ours}/{call}_many", f"growth/{ours}/{call}_few", "p50")
    what = f"`{call}` among {{many_entries:,}} entries, {place(ours)}: times the time among {{entries:,}}"
    return Target(what, figure, 1.5, at_least=False)


NETWORK = "hosts/250/"
WRITES_16 = "acknowledged writes of 16 processes"
HALF = "pages of which every other saves its session"

READS = (
    faster("get", "other", 12),
    at_most("get", "other", "locmem", 0.75),
    faster("get_many", "other", 2.5),
    Target(
        "`aget`, another host: times the time of `get`",
        ratio("aget/other", "aget/other/get", "p50"),
        2,
        at_least=False,
    ),
    signing("get"),
    signing("set"),
)
WRITES = (
    *(faster(call, "standalone", 8) for call in ("set", "add", "incr", "delete")),
    more("writes_4", "standalone", REFERENCE, 4, "writes of 4 processes"),
    more("writes_16", "standalone", REFERENCE, 4, "writes of 16 processes"),
    *(direct(ours) for ours in ("leader", "other")),
    at_most("set", "leader", ACKNOWLEDGED, 1.5),
    at_most("set", "other", ACKNOWLEDGED, 2),
    *(for_all("levels", ours, "an idle cluster") for ours in ("leader", "other")),
    for_all("levels_16", "cluster", "a busy cluster"),
    *(
        cost("cluster 16", who, bound, "16 clients")
        for who, bound in (("leader", 60), ("follower", 40), ("worker", 60))
    ),
    *(cost(f"{ours} 1", "leader", 170, f"one client, {place(ours)}") for ours in ("leader", "other")),
    more("quorum_writes_4", "cluster", ACKNOWLEDGED, 1.5, "acknowledged writes of 4 processes"),
    more("quorum_writes_16", "cluster", ACKNOWLEDGED, 1.5, WRITES_16),
    slowest("quorum_writes_16", "cluster", ACKNOWLEDGED, 1, WRITES_16),
    Target(
        "`set_many(1000)` at quorum, leader's host: entries a second",
        _entries_stored,
        80_000,
        at_least=True,
        unit="",
    ),
)
SITES = (
    more("mixed_1", "standalone", REFERENCE, 9, "mixed calls of 1 process"),
    more("mixed_4", "cluster", REFERENCE, 4, "mixed calls of 4 processes"),
    more("mixed_16", "cluster", REFERENCE, 6, "mixed calls of 16 processes"),
    more("pages", "other", REFERENCE, 2.2, "pages"),
    more("pages_half", "other", REPLICATED, 2, HALF),
    faster("get", "other", 60, REPLICATED + FAR, NETWORK),
    at_most("set", "leader", ACKNOWLEDGED, 1.2, NETWORK),
    at_most("set", "other", ACKNOWLEDGED + FAR, 1.2, NETWORK),
    more("mixed_16", "cluster", REPLICATED + ALL, 6, "mixed calls of 16 processes", NETWORK),
    more("pages_half", "cluster", REPLICATED + ALL, 3, HALF, NETWORK),
    more("pages_all", "cluster", REPLICATED + ALL, 3, "pages that save their session", NETWORK),
)
FOOTPRINT = (
    Target("node with an empty cache: memory", _node_memory, 60, at_least=False, unit="MB"),
    Target(
        "memory of one host for {memory_entries:,} entries: bytes per byte of values",
        _all_memory,
        1.6,
        at_least=False,
        unit="",
    ),
    Target("what the backend adds to a worker: memory", _worker_memory, 5, at_least=False, unit="MB"),
    Target("what the backend adds to a worker: import time", _worker_import, 30, at_least=False, unit="ms"),
    Target("idle cluster: share of a core that one node takes", _idle, 1, at_least=False, unit="%"),
    *(grown(call, ours) for ours in ("standalone", "leader") for call in ("get", "set")),
)
TARGETS = (*READS, *WRITES, *SITES, *FOOTPRINT)
