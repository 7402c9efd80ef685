"""The tables of the page: one measurement in, Markdown out. Knows no file and no run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.backends import ACKNOWLEDGED, ALL, BACKENDS, FAR, REFERENCE, REPLICATED
from benchmarks.words import milliseconds, number, times

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Measured = dict[str, Any]
Cells = tuple[str, ...]

# What the others of a table are compared with: the first of these that is in it.
REFERENCES = (REFERENCE, REPLICATED + ALL, REPLICATED + FAR, REPLICATED, ACKNOWLEDGED + ALL, ACKNOWLEDGED)


def table(head: Cells, rows: Iterable[Cells]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def label(name: str) -> str:
    backend = BACKENDS[name]
    return f"**{backend.label}**" if backend.is_ours else backend.label


def reference(measured: Measured) -> str:
    return next(name for name in REFERENCES if name in measured)


def call_times(measured: Measured) -> str:
    against = reference(measured)
    rows = [
        (
            label(name),
            times(one["p50"]),
            times(one["p99"]),
            f"{number(measured[against]['p50'] / one['p50'])} times",
            f"{one['calls']:,}",
        )
        for name, one in measured.items()
    ]
    return table(("", "p50", "p99", f"as fast as {BACKENDS[against].label}", "calls"), rows)


def rates(measured: Measured) -> str:
    """How many a second, and what each of them took where that is known."""
    against = reference(measured)
    timed = all("p99" in one for one in measured.values())
    rows = [
        (
            label(name),
            *_rate(one),
            f"{number(one['rate'] / measured[against]['rate'])} times",
            *((times(one["p50"]), times(one["p99"])) if timed else ()),
        )
        for name, one in measured.items()
    ]
    head = ("", "a second", "in the rounds", f"as many as {BACKENDS[against].label}")
    return table((*head, "p50", "p99") if timed else head, rows)


def _rate(one: Measured) -> Cells:
    least, most = min(one["rate_of_rounds"]), max(one["rate_of_rounds"])
    return number(one["rate"]), f"{number(least)} to {number(most)}"


def levels(measured: Measured) -> str:
    rows = [
        (f"`{level}`", label(name), *((number(one["rate"]),) if "rate" in one else ()), *_span(one))
        for level, seen in measured.items()
        for name, one in seen.items()
    ]
    counted = len(rows[0]) > 4
    parts = [table(("", "", *(("a second",) if counted else ()), "p50", "p99"), rows)]
    parts += [
        f"Of the {one['calls']:,} writes at `{level}` of {BACKENDS[name].label}, {one['lost']:,} were lost."
        for level, seen in measured.items()
        for name, one in seen.items()
        if "lost" in one
    ]
    return "\n\n".join(parts)


def _span(one: Measured) -> Cells:
    return times(one["p50"]), times(one["p99"])


def costs(measured: Measured) -> str:
    rows = []
    for clients, one in measured.items():
        name, size = clients.split()
        cells = (f"{number(one[f'{who}_us'])} µs" for who in ("leader", "follower", "worker"))
        rows.append((label(name), size, number(one["rate"]), *cells))
    return table(
        ("", "processes", "a second", "leader or primary", "each follower or replica", "worker"), rows
    )


def memory(measured: Measured) -> str:
    rows = [
        (
            label(name),
            _megabytes(one["resident_empty"]) if one["resident_empty"] else "no process",
            _megabytes(one["empty"]),
            _megabytes(one["full"]),
            f"{number(one['times_payload'])} bytes",
        )
        for name, one in measured.items()
    ]
    head = (
        "",
        "server or node, empty (RSS)",
        "with a worker, empty",
        "with a worker, full",
        "per byte of values",
    )
    return table(head, rows)


def start_up(measured: Measured) -> str:
    rows = [
        (
            label(name),
            milliseconds(one["import_ms"]),
            milliseconds(one["first_use_ms"]),
            f"{number(one['resident_mb'])} MB",
            f"{number(one['private_mb'])} MB",
        )
        for name, one in measured.items()
    ]
    return table(("", "import", "first `set` and `get`", "resident memory", "private memory"), rows)


def idle(measured: Measured) -> str:
    rows = [
        (name, f"{number(one['cpu_percent'])} %", f"{number(one['seconds'])} s")
        for name, one in measured.items()
    ]
    return table(("", "share of a core", "over"), rows)


def growth(measured: Measured) -> str:
    rows = [
        (
            label(name),
            f"`{call}`",
            *(times(one[f"{call}_{size}"]["p50"]) for size in ("few", "many")),
            f"{number(one[f'{call}_many']['p50'] / one[f'{call}_few']['p50'])} times",
        )
        for name, one in measured.items()
        for call in ("get", "set")
    ]
    return table(("", "", "p50 among few", "p50 among many", "many against few"), rows)


DONE = {
    "get": "`get`",
    "set": "`set`",
    "mixed_16": "Mixed calls, 16 processes",
    "pages_half": "Pages of which every other saves its session",
    "pages_all": "Pages that save their session",
    "writes_16": "`set`, 16 processes",
}


def pauses(measured: Measured) -> str:
    return "\n\n".join(f"{DONE[what]}:\n\n{call_times(seen)}" for what, seen in measured.items())


def hosts(measured: Measured) -> str:
    return "\n\n".join(_network(one_way_us, seen) for one_way_us, seen in measured.items())


def _network(one_way_us: str, seen: Mapping[str, Any]) -> str:
    delay = seen["delay"]
    parts = [
        f"### {int(one_way_us) / 1000:g} ms to another host",
        f"A bare round trip took {times(delay['round_trip_us'])}. The delay was made by {delay['made_by']}.",
    ]
    if any(delay["cpu_percent"].values()):
        taken = (
            f"{number(share)} % with {BACKENDS[name].label}" for name, share in delay["cpu_percent"].items()
        )
        parts.append(f"Of a core, that took while 16 processes made mixed calls: {', '.join(taken)}.")
    for what, one in seen.items():
        if what in DONE:
            counted = any("rate" in summary for summary in one.values())
            parts += [f"{DONE[what]}:", (rates if counted else call_times)(one)]
    return "\n\n".join(parts)


def _megabytes(count: int) -> str:
    return f"{number(count / 1e6)} MB"
