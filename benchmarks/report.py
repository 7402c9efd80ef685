"""Writes what a run came to into a directory: the raw figures, a page, and its charts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks import tables
from benchmarks.backends import ACKNOWLEDGED, BACKENDS
from benchmarks.charts import Bar, bar_chart
from benchmarks.page import page
from benchmarks.targets import found
from benchmarks.words import number, times

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.page import Results

RESULTS = "results.json"
PAGE = "README.md"
# Written by hand, linked where they exist, never touched.
COMPANIONS = {
    "notes.md": "Why some targets are missed, and what was tried",
    "scaling.md": "How far one cluster goes",
}


@dataclass(frozen=True)
class Chart:
    """A chart of what the results have at `path`: of the backends `names`, or of all that took part."""

    file: str
    path: str
    title: str
    names: tuple[str, ...] = ()

    @property
    def measurement(self) -> str:
        return self.path.partition("/")[0]


REPLICATING = ("leader", "other", ACKNOWLEDGED)
NETWORK = "0.25 ms to another host"
CHARTS = (
    Chart("get.svg", "get", "get: a key that is there"),
    Chart("get_many.svg", "get_many", "get_many: 100 keys"),
    Chart("set.svg", "set", "set, not replicated", tuple(BACKENDS.keys() - REPLICATING)),
    Chart("quorum_set.svg", "set", "set, acknowledged by another host", REPLICATING),
    Chart("writes_16.svg", "writes_16", "Writes a second on one machine, 16 processes"),
    Chart("quorum_writes_4.svg", "quorum_writes_4", "Acknowledged writes a second, 4 processes"),
    Chart("quorum_writes_16.svg", "quorum_writes_16", "Acknowledged writes a second, 16 processes"),
    Chart("mixed_1.svg", "mixed_1", "95 reads to 5 writes, 1 process"),
    Chart("mixed_16.svg", "mixed_16", "95 reads to 5 writes, 16 processes"),
    Chart("pages.svg", "pages", "Pages that read, 1 process"),
    Chart("pages_half.svg", "pages_half", "Pages of which every other saves its session, 1 process"),
    Chart("pages_all.svg", "pages_all", "Pages that save their session, 1 process"),
    Chart("api_listed.svg", "api_listed", "API whose throttle keeps a list, 1 process"),
    Chart("hosts_get.svg", "hosts/250/get", f"get, {NETWORK}"),
    Chart("hosts_set.svg", "hosts/250/set", f"set, {NETWORK}"),
    Chart("hosts_mixed_16.svg", "hosts/250/mixed_16", f"95 reads to 5 writes, 16 processes, {NETWORK}"),
    Chart(
        "hosts_pages_half.svg",
        "hosts/250/pages_half",
        f"Pages of which every other saves its session, {NETWORK}",
    ),
)


def write(directory: Path, results: Results) -> None:
    """Write results.json, README.md and the charts; whatever else is in the directory stays."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / RESULTS).write_text(json.dumps(results, indent=1) + "\n")
    drawn: dict[str, list[tuple[str, str]]] = {}
    for chart in CHARTS:
        if chart.measurement in results["measurements"]:
            seen = found(results["measurements"], chart.path)
            (directory / chart.file).write_text(draw(chart, seen))
            drawn.setdefault(chart.measurement, []).append((chart.title, chart.file))
    companions = {file: title for file, title in COMPANIONS.items() if (directory / file).exists()}
    (directory / PAGE).write_text(page(results, drawn, companions))


def read(directory: Path) -> Results:
    """The results that are in a directory."""
    results: Results = json.loads((directory / RESULTS).read_text())
    return results


def draw(chart: Chart, seen: dict[str, Any]) -> str:
    names = [name for name in chart.names or seen if name in seen]
    counts = "rate" in seen[names[0]]
    field, written = ("rate", number) if counts else ("p50", times)
    bars = [
        Bar(BACKENDS[name].label, seen[name][field], written(seen[name][field]), BACKENDS[name].is_ours)
        for name in names
    ]
    bars.sort(key=lambda bar: bar.value, reverse=counts)
    longest = max(bar.value for bar in bars)
    if counts:
        return bar_chart(chart.title, "a second, median of the rounds: longer is better", bars, longest)
    peers = [name for name in tables.REFERENCES if name in names]
    reference = seen[peers[0]][field] if peers else longest
    return bar_chart(chart.title, "median time of a call: shorter is better", bars, reference)
