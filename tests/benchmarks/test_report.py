"""A run becomes figures, a page and charts: whatever is measured is told, with what speaks against it."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import report
from benchmarks.backends import BACKENDS
from benchmarks.measurements import MEASUREMENTS
from benchmarks.objections import OBJECTIONS
from benchmarks.page import SECTIONS
from benchmarks.targets import TARGETS, Target
from tests.benchmarks.made_up import RATES, RESULTS, TIMES

MEASURED = RESULTS["measurements"]


def test_every_measurement_has_a_section_and_an_objection() -> None:
    assert set(SECTIONS) == set(OBJECTIONS) == set(MEASUREMENTS)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.what)
def test_every_target_is_told_by_a_whole_run(target: Target) -> None:
    figure = target.told(MEASURED)
    assert figure is not None
    assert figure.span is None or figure.span[0] <= figure.span[1]


def test_a_target_is_left_out_where_a_run_has_not_measured_it() -> None:
    assert [target.told({}) for target in TARGETS] == [None] * len(TARGETS)


def test_no_two_targets_are_called_the_same() -> None:
    assert len({target.what for target in TARGETS}) == len(TARGETS)


def figure(what: str, **changed: dict[str, object]) -> tuple[Target, float]:
    target = next(target for target in TARGETS if target.what.startswith(what))
    told = target.told(MEASURED | changed)
    assert told is not None
    return target, told.value


def test_faster_is_the_time_of_the_peer_by_ours() -> None:
    ours, peer = TIMES | {"p50": 5.0}, TIMES | {"p50": 100.0}
    target, value = figure("`get`, three nodes", get=MEASURED["get"] | {"other": ours, "django-redis": peer})
    assert value == 20
    assert target.is_met(target.told(MEASURED | {"get": {"other": ours, "django-redis": peer}}))


def test_more_is_our_rate_by_that_of_the_peer() -> None:
    ours = RATES | {"rate": 1000.0}
    target, value = figure("pages of which", pages_half=MEASURED["pages_half"] | {"other": ours})
    assert value == 2.5
    assert target.at_least


def test_the_network_of_a_target_is_named_in_it() -> None:
    figures = [target.what for target in TARGETS if target.what.startswith("0.25 ms to another host: ")]
    assert len(figures) == 6


def test_everything_is_written(tmp_path: Path) -> None:
    report.write(tmp_path, RESULTS)
    assert report.read(tmp_path) == RESULTS
    page = (tmp_path / "README.md").read_text()
    for name, (title, _) in SECTIONS.items():
        assert f"\n## {title.format(**RESULTS['scale'])}\n" in page
        assert OBJECTIONS[name] in page
    assert f"of {len(TARGETS)} are met." in page


def test_every_picture_of_the_page_is_there_and_is_one(tmp_path: Path) -> None:
    report.write(tmp_path, RESULTS)
    linked = re.findall(r"!\[.*\]\((.*)\)", (tmp_path / "README.md").read_text())
    assert sorted(linked) == sorted(path.name for path in tmp_path.glob("*.svg"))
    assert len(linked) == len(report.CHARTS)
    for name in linked:
        ET.fromstring((tmp_path / name).read_text())


def test_what_was_lost_is_told(tmp_path: Path) -> None:
    report.write(tmp_path, RESULTS)
    assert "three nodes, all hosts, 2 were lost." in (tmp_path / "README.md").read_text()


def test_a_part_of_a_run_is_a_page_too(tmp_path: Path) -> None:
    part = RESULTS | {"measurements": {"get": MEASURED["get"]}, "remarks": ["Not measured here: hosts. Why."]}
    report.write(tmp_path, part)
    page = (tmp_path / "README.md").read_text()
    assert "## `get` of a key that is there" in page
    assert "## Pages" not in page
    assert "**Not measured here: hosts. Why.**" in page


def test_every_table_has_as_many_cells_in_each_line(tmp_path: Path) -> None:
    report.write(tmp_path, RESULTS)
    tables = re.findall(r"(?:^\|.*\|\n)+", (tmp_path / "README.md").read_text(), re.MULTILINE)
    assert len(tables) > len(MEASUREMENTS)
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1


@pytest.mark.parametrize("measurement", OBJECTIONS)
def test_what_an_objection_quotes_is_the_label_of_a_backend(measurement: str) -> None:
    labels = {backend.label for backend in BACKENDS.values()} | {one.short for one in BACKENDS.values()}
    quoted = re.findall("“(.*?)”", OBJECTIONS[measurement].replace("\n", " "))
    assert {name for name in quoted if name not in labels} <= {"standalone"}


def test_labels_fit_into_a_chart() -> None:
    assert max(len(backend.label) for backend in BACKENDS.values()) <= 54


def test_backends_are_told_apart_by_their_labels() -> None:
    assert len({backend.label for backend in BACKENDS.values()}) == len(BACKENDS)
