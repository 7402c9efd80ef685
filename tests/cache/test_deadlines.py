"""WRITE_TIMEOUT is the time for writing: what the caller does meanwhile, and clocks that tests stop, play no part."""

from __future__ import annotations

import time

import pytest
from django.core.cache import caches

from django_hacache.exceptions import CacheUnavailable
from django_hacache.worker import calls
from tests.waiting import eventually

LONGER_THAN_HASTY_S = 0.15


def test_the_time_of_a_callable_is_no_time_of_the_write(small_node, style):
    cache = style(caches["hasty"])

    def slow():
        time.sleep(LONGER_THAN_HASTY_S)
        return "made"

    assert cache.get_or_set("key", slow) == "made"
    cache.set("other", 1)
    assert cache.get("key") == "made"


class SlowToPickle:
    def __init__(self, value):
        self.value = value

    def __reduce__(self):
        time.sleep(LONGER_THAN_HASTY_S)
        return str, (self.value,)


def test_the_time_that_pickling_takes_is_no_time_of_the_write(small_node, style):
    cache = style(caches["hasty"])
    cache.set("a", SlowToPickle("a"))
    assert cache.add("b", SlowToPickle("b"))
    assert cache.set_many({"c": SlowToPickle("c")}) == []
    eventually(lambda: cache.get_many("abc") == {"a": "a", "b": "b", "c": "c"})


class SlowToAdd:
    def __add__(self, other):
        time.sleep(LONGER_THAN_HASTY_S)
        return other


def test_the_time_between_the_changes_of_a_call_is_no_time_of_the_write(small_node, style):
    cache = style(caches["hasty"])
    cache.set("key", SlowToAdd())
    assert cache.incr("key", 2.5) == 2.5


def test_a_call_whose_earlier_parts_took_all_its_time_leaves_the_breaker_closed(
    small_node, style, monkeypatch
):
    cache = style(caches["hasty"])
    instants = iter(range(1000))
    monkeypatch.setattr(calls, "monotonic", lambda: time.monotonic() + next(instants))
    with pytest.raises(CacheUnavailable, match="WRITE_TIMEOUT"):
        cache.set_many({f"k{number}": number for number in range(2000)})
    monkeypatch.undo()
    cache.set("key", 1)


@pytest.fixture
def frozen(monkeypatch):
    """What freezegun does to the module `time`: asyncio, which takes its clock from there, stands still as well."""
    for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"):
        now = getattr(time, name)()
        monkeypatch.setattr(time, name, lambda now=now: now)


def test_a_write_with_the_node_gone_ends_where_tests_freeze_time(small_node, frozen):
    small_node.kill()
    with pytest.raises(CacheUnavailable):
        caches["hasty"].set("key", 1)
    small_node.start()


def test_entries_expire_where_tests_freeze_time(small_node, frozen):
    caches["default"].set("key", 1, 0.05)
    while caches["default"].get("key") is not None:
        time.sleep(0.001)
