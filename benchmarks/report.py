"""Writes what a run came to into a directory: the raw figures, a page, and its charts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.backends import ACKNOWLEDGED, BACKENDS, REFERENCE
from benchmarks.charts import Bar, bar_chart
from benchmarks.page import page
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
    """A chart of one measurement: of the backends `names`, or of all that took part."""

    file: str
    measurement: str
    title: str
    names: tuple[str, ...] = ()

    @property
    def counts(self) -> bool:
        return self.measurement.startswith(("mixed", "quorum_writes", "pages"))


REPLICATED = ("leader", "other", ACKNOWLEDGED)
CHARTS = (
    Chart("get.svg", "get", "get: a key that is there"),
    Chart("get_many.svg", "get_many", "get_many: 100 keys"),
    Chart("set.svg", "set", "set, not replicated", tuple(BACKENDS.keys() - REPLICATED)),
    Chart("quorum_set.svg", "set", "set, acknowledged by another host", REPLICATED),
    Chart("quorum_writes_4.svg", "quorum_writes_4", "Acknowledged writes a second, 4 processes"),
    Chart("quorum_writes_16.svg", "quorum_writes_16", "Acknowledged writes a second, 16 processes"),
    Chart("mixed_1.svg", "mixed_1", "95 reads to 5 writes, 1 process"),
    Chart("mixed_16.svg", "mixed_16", "95 reads to 5 writes, 16 processes"),
    Chart("pages.svg", "pages", "Pages of a Django site, 1 process"),
)


def write(directory: Path, results: Results) -> None:
    """Write results.json, README.md and the charts; whatever else is in the directory stays."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / RESULTS).write_text(json.dumps(results, indent=1) + "\n")
    drawn: dict[str, list[tuple[str, str]]] = {}
    for chart in CHARTS:
        if chart.measurement in results["measurements"]:
            (directory / chart.file).write_text(draw(chart, results["measurements"][chart.measurement]))
            drawn.setdefault(chart.measurement, []).append((chart.title, chart.file))
    companions = {file: title for file, title in COMPANIONS.items() if (directory / file).exists()}
    (directory / PAGE).write_text(page(results, drawn, companions))


def read(directory: Path) -> Results:
    """The results that are in a directory."""
    found: Results = json.loads((directory / RESULTS).read_text())
    return found


def draw(chart: Chart, seen: dict[str, Any]) -> str:
    names = [name for name in chart.names or seen if name in seen]
    field, written = ("rate", number) if chart.counts else ("p50", times)
    bars = [
        Bar(BACKENDS[name].label, seen[name][field], written(seen[name][field]), BACKENDS[name].is_ours)
        for name in names
    ]
    bars.sort(key=lambda bar: bar.value, reverse=chart.counts)
    longest = max(bar.value for bar in bars)
    if chart.counts:
        return bar_chart(chart.title, "a second, median of the rounds: longer is better", bars, longest)
    reference = seen[REFERENCE][field] if REFERENCE in names else longest
    return bar_chart(chart.title, "median time of a call: shorter is better", bars, reference)
