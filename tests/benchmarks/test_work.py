"""What a worker does when it is told to, with a cache that needs no server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.cluster import site_environment
from benchmarks.crew import Crew
from benchmarks.measurements import pages
from benchmarks.places import Site
from benchmarks.scale import VALUE_BYTES
from benchmarks.work import calls

LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
# No time at all: what is done at least.
AT_ONCE = {"start": 0, "end": 0}


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    crew = Crew([Site(site_environment(LOCMEM))])
    yield crew
    crew.stop()


@pytest.mark.parametrize(
    "kind", ["pages", "pages_half", "pages_all", "pages_ten", "api_counted", "api_listed"]
)
def test_every_kind_of_page_is_made_whole(crew: Crew, kind: str) -> None:
    [rate] = crew.ask("count_pages", kind=kind, **AT_ONCE)
    assert rate > 0


def test_a_kind_is_there_for_each_measurement_of_pages() -> None:
    from benchmarks.work.pages import PATHS

    assert {measure.args[0] for measure in pages.MEASUREMENTS.values()} == set(PATHS)


def test_pages_are_timed_with_pauses_between_them(crew: Crew) -> None:
    [taken] = crew.ask("time_pages", kind="pages_half", count=4, warm_up=1, seconds=9, pause=0.0001)
    assert len(taken) == 4


def test_calls_are_timed_one_by_one(crew: Crew) -> None:
    crew.ask("fill", entries=10)
    [taken] = crew.ask("time_calls", call="get", count=5, warm_up=2, seconds=9, entries=10)
    assert len(taken) == 5
    assert all(isinstance(one, int) and one > 0 for one in taken)


def test_a_block_ends_when_its_time_is_over(crew: Crew) -> None:
    [taken] = crew.ask("time_calls", call="set", count=5, warm_up=0, seconds=0, entries=10)
    assert len(taken) == 1


def test_calls_are_counted_and_timed_together(crew: Crew) -> None:
    [seen] = crew.ask("time_together", call="set", entries=10, **AT_ONCE)
    assert seen["rate"] > 0
    assert len(seen["taken"]) == 1


def test_a_miss_is_no_hit_and_a_run_with_a_wrong_answer_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "PATIENCE_S", 0)
    with pytest.raises(calls.WrongAnswer, match="returned None"):
        calls.insist(lambda _: None, calls.is_hit)


def test_a_miss_of_a_moment_is_waited_for() -> None:
    answers = iter([None, None, bytes(VALUE_BYTES)])
    calls.insist(lambda _: next(answers), calls.is_hit)
    assert next(answers, "all were asked for") == "all were asked for"


def test_processes_are_spread_over_the_sites() -> None:
    sites = [Site(site_environment(LOCMEM)) for _ in range(3)]
    crew = Crew(sites, 4)
    try:
        assert len(crew.pids) == 3
        assert len(crew.ask("read_all", entries=1)) == 4
    finally:
        crew.stop()
