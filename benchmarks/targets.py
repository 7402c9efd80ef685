"""What django_hacache is held to, and how each figure comes out of the results of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.backends import ACKNOWLEDGED, BACKENDS, REFERENCE, SIGNED
from benchmarks.words import milliseconds, number, times

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Measurements = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """One number that a run came to, what it was made of, and its lowest and highest value in a round."""

    value: float
    made_of: str
    span: tuple[float, float] | None = None


@dataclass(frozen=True)
class Target:
    """A bound for one figure, made of the measurement `needs`, where the backend `of` took part in it."""

    what: str
    needs: str
    figure: Callable[[Measurements], Figure]
    bound: float
    at_least: bool
    unit: str = "times"
    of: str = ""

    def can_be_told(self, seen: Measurements) -> bool:
        """Whether a run has measured what it is made of."""
        return self.needs in seen and (not self.of or self.of in seen[self.needs])

    def is_met(self, figure: Figure) -> bool:
        return figure.value >= self.bound if self.at_least else figure.value <= self.bound

    def in_words(self, value: float) -> str:
        return f"{number(value)} {self.unit}".rstrip()


def _compared(
    above: Sequence[float], below: Sequence[float], medians: tuple[float, float], said: str
) -> Figure:
    by_round = [one / other for one, other in zip(above, below, strict=True)]
    return Figure(medians[0] / medians[1], said, (min(by_round), max(by_round)))


def _times_of(call: str, ours: str, peer: str, *, faster: bool) -> Callable[[Measurements], Figure]:
    def figure(seen: Measurements) -> Figure:
        one, other = seen[call][ours], seen[call][peer]
        said = f"{times(one['p50'])} to {times(other['p50'])}"
        above, below = (other, one) if faster else (one, other)
        medians = above["p50"], below["p50"]
        return _compared(above["p50_of_rounds"], below["p50_of_rounds"], medians, said)

    return figure


def faster(call: str, ours: str, bound: float) -> Target:
    """Target: a call takes `bound` times less time than with django-redis."""
    what = f"`{call}`, {place(ours)}: how many times faster than {REFERENCE}"
    return Target(what, call, _times_of(call, ours, REFERENCE, faster=True), bound, at_least=True)


def at_most(call: str, ours: str, peer: str, bound: float) -> Target:
    """Target: a call takes at most `bound` times the time of a peer."""
    what = f"`{call}`, {place(ours)}: times the time of {BACKENDS[peer].short}"
    return Target(what, call, _times_of(call, ours, peer, faster=False), bound, at_least=False)


def more(measurement: str, ours: str, peer: str, bound: float, what: str) -> Target:
    """Target: at least `bound` times as many a second as a peer."""

    def figure(seen: Measurements) -> Figure:
        one, other = seen[measurement][ours], seen[measurement][peer]
        said = f"{number(one['rate'])} to {number(other['rate'])} a second"
        medians = one["rate"], other["rate"]
        return _compared(one["rate_of_rounds"], other["rate_of_rounds"], medians, said)

    what = f"{what}, {place(ours)}: times as many as {BACKENDS[peer].short}"
    return Target(what, measurement, figure, bound, at_least=True)


def place(name: str) -> str:
    return BACKENDS[name].label.removeprefix("django_hacache, ")


def signing(call: str) -> Target:
    """Target: a signature takes so many microseconds of a call."""

    def figure(seen: Measurements) -> Figure:
        one, other = seen[call][SIGNED], seen[call]["standalone"]
        by_round = [
            mine - theirs for mine, theirs in zip(one["p50_of_rounds"], other["p50_of_rounds"], strict=True)
        ]
        said = f"{times(one['p50'])} to {times(other['p50'])}"
        return Figure(one["p50"] - other["p50"], said, (min(by_round), max(by_round)))

    what = f"`{call}`, {place('standalone')}: what a signed value takes more"
    return Target(what, call, figure, 2, at_least=False, unit="µs", of=SIGNED)


def _awaited(seen: Measurements) -> Figure:
    one = seen["aget"]["other"]
    said = f"{times(one['p50'])} to {times(one['get']['p50'])}"
    medians = one["p50"], one["get"]["p50"]
    return _compared(one["p50_of_rounds"], one["get"]["p50_of_rounds"], medians, said)


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


def _idle(seen: Measurements) -> Figure:
    shares = {name: one["cpu_percent"] for name, one in seen["idle"].items()}
    return Figure(
        max(shares.values()), ", ".join(f"{name} {number(share)} %" for name, share in shares.items())
    )


def grown(call: str, ours: str) -> Target:
    def figure(seen: Measurements) -> Figure:
        many, few = (seen["growth"][ours][f"{call}_{size}"] for size in ("many", "few"))
        said = f"{times(many['p50'])} to {times(few['p50'])}"
        return _compared(many["p50_of_rounds"], few["p50_of_rounds"], (many["p50"], few["p50"]), said)

    what = f"`{call}` among {{many_entries:,}} entries, {place(ours)}: times the time among {{entries:,}}"
    return Target(what, "growth", figure, 1.5, at_least=False)


TARGETS = (
    faster("get", "other", 12),
    at_most("get", "other", "locmem", 1.2),
    faster("get_many", "other", 2.5),
    Target("`aget`, another host: times the time of `get`", "aget", _awaited, 2, at_least=False),
    signing("get"),
    signing("set"),
    *(faster(call, "standalone", 5) for call in ("set", "add", "incr", "delete")),
    at_most("set", "leader", ACKNOWLEDGED, 1.5),
    at_most("set", "other", ACKNOWLEDGED, 2),
    more("quorum_writes_4", "cluster", ACKNOWLEDGED, 1.5, "acknowledged writes of 4 processes"),
    more("quorum_writes_16", "cluster", ACKNOWLEDGED, 1.5, "acknowledged writes of 16 processes"),
    Target(
        "`set_many(1000)` at quorum, leader's host: entries a second",
        "set_many",
        _entries_stored,
        30_000,
        at_least=True,
        unit="",
    ),
    more("mixed_1", "standalone", REFERENCE, 9, "mixed calls of 1 process"),
    more("mixed_4", "cluster", REFERENCE, 4, "mixed calls of 4 processes"),
    more("mixed_16", "cluster", REFERENCE, 5, "mixed calls of 16 processes"),
    more("pages", "other", REFERENCE, 2.2, "pages"),
    Target("node with an empty cache: memory", "memory", _node_memory, 60, at_least=False, unit="MB"),
    Target(
        "memory of one host for {memory_entries:,} entries: bytes per byte of values",
        "memory",
        _all_memory,
        1.6,
        at_least=False,
        unit="",
    ),
    Target(
        "what the backend adds to a worker: memory", "start_up", _worker_memory, 5, at_least=False, unit="MB"
    ),
    Target(
        "what the backend adds to a worker: import time",
        "start_up",
        _worker_import,
        30,
        at_least=False,
        unit="ms",
    ),
    Target("idle cluster: share of a core that one node takes", "idle", _idle, 1, at_least=False, unit="%"),
    *(grown(call, ours) for ours in ("standalone", "leader") for call in ("get", "set")),
)
