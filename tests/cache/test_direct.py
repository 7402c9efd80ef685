"""Writes at level direct: nobody waits, nothing comes before them, and what is lost is counted."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.utils import make_template_fragment_key
from django.http import HttpResponse
from django.template import engines
from django.test import RequestFactory
from django.views.decorators.cache import cache_page

from django_hacache.conf import AckLevel
from django_hacache.exceptions import CacheUnavailable, OutcomeUnknown
from django_hacache.worker import direct
from django_hacache.worker.cluster_writer import ClusterWriter
from tests.cache.processes import FORKS, in_child
from tests.waiting import eventually


def default() -> Any:
    return caches["default"]


@contextmanager
def standing_still(node):
    node.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        if node.process is not None:
            node.process.send_signal(signal.SIGCONT)


def writes_of(cache):
    """What this process has handed over."""
    return cache._site.direct_writes()


def test_a_direct_write_returns_while_its_node_stands_still(small_node, style):
    cache = style(default())
    cache.set("other", 1)
    with standing_still(small_node):
        cache.set("key", "value", ack="direct")
        assert cache.delete("other", ack="direct")
        assert cache.touch("missing", ack="direct")
        assert cache.set_many({"first": 1, "second": 2}, ack="direct") == []
    eventually(
        lambda: (
            cache.get_many(["key", "other", "first", "second"]) == {"key": "value", "first": 1, "second": 2}
        )
    )


def test_a_write_that_waits_comes_after_the_direct_ones_before_it_in_whatever_way_both_go(small_node):
    cache = default()

    def of_thread(**more):
        thread = threading.Thread(target=lambda: cache.set("key", number, **more))
        thread.start()
        thread.join()

    def of_loop(**more):
        asyncio.run(cache.aset("key", number, **more))

    def plainly(**more):
        cache.set("key", number, **more)

    ways = (plainly, of_thread, of_loop)
    number = 0
    for first in ways:
        for then in ways:
            for _ in range(2):
                with standing_still(small_node):
                    # More than the node takes of one connection before it looks at the others.
                    for other in range(40):
                        cache.set(f"other{other}", "x" * 3000, ack="direct")
                    first(ack="direct")
                number += 1
                then()
                assert cache.get("key") == number


def test_ten_thousand_in_a_row_all_arrive_in_their_order(small_node, style):
    cache = style(default())
    for number in range(10_000):
        cache.set(f"key{number % 100}", number, ack="direct")
    assert len(writes_of(default()).unanswered) <= direct.UNANSWERED_MAX
    cache.set("end", True)
    found = cache.get_many([f"key{number}" for number in range(100)])
    assert sorted(found.values()) == list(range(9900, 10_000))
    assert writes_of(default()).untold == 0


def test_threads_share_one_line_of_direct_writes(small_node):
    cache = default()

    def write(name):
        for number in range(200):
            cache.set(f"key{name}", number, ack="direct")
            cache.set(f"key{name}-{number}", "x" * 2000, ack="direct")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(8)))
    cache.set("end", True)
    assert [cache.get(f"key{name}") for name in range(8)] == [199] * 8
    assert all(cache.get(f"key{name}-{number}") for name in range(8) for number in range(200))


@pytest.mark.filterwarnings("ignore::django.core.cache.backends.base.CacheKeyWarning")
def test_what_the_node_refuses_is_logged_counted_and_told_with_a_later_request(small_node, style, caplog):
    cache = style(default())
    cache.set("busy", 1, ack="direct")
    cache.set("no quorum", 1, ack="direct")
    writes = writes_of(default())
    eventually(lambda: not writes.collect())
    assert writes.untold == 2
    (record,) = [one for one in caplog.records if "Direct writes" in one.message]
    assert "as asked" in record.message
    cache.set("key", 1)
    assert writes.untold == 0


def test_what_a_dead_node_had_not_answered_is_counted_as_unknown(small_node, style, caplog):
    cache = style(default())
    cache.set("key", 1)
    with standing_still(small_node):
        for _ in range(3):
            cache.set("key", 2, ack="direct")
        small_node.kill()
    small_node.start()
    eventually(lambda: _written(cache))
    (record,) = [one for one in caplog.records if "Direct writes" in one.message]
    assert "may not have been: 3." in record.message


def _written(cache):
    try:
        cache.set("key", 3)
    except CacheUnavailable:
        return False
    return cache.get("key") == 3


def test_a_node_that_stops_reading_is_waited_for_until_the_deadline(small_node, style):
    cache = style(caches["hasty"])
    cache.set("key", 1)
    with standing_still(small_node), pytest.raises(CacheUnavailable) as failure:
        for _ in range(2 * direct.UNANSWERED_MAX):
            cache.set("key", "x" * 3000, ack="direct")
    assert not isinstance(failure.value, OutcomeUnknown)
    eventually(lambda: _written(cache))


@pytest.mark.parametrize("fork", FORKS, ids=["Python's", "the C library's"])
def test_a_forked_child_leaves_what_is_due_to_its_parent(small_node, fork, caplog):
    cache = default()
    cache.set("key", 0)
    with standing_still(small_node):
        for number in range(5):
            cache.set(f"key{number}", number, ack="direct")
        writes = writes_of(cache)

        def child():
            cache.get("key")
            mine = writes_of(cache)
            return 0 if mine is not writes and not mine.unanswered and not mine.untold else 1

        assert in_child(child, fork) == 0
    assert in_child(lambda: cache.set("child", 1) or 0, fork) == 0
    cache.set("end", 1)
    assert writes_of(cache) is writes
    assert len(cache.get_many([f"key{number}" for number in range(5)])) == 5
    assert not [one for one in caplog.records if "Direct writes" in one.message]


def test_a_process_that_ends_has_its_node_read_everything(small_node):
    program = (
        "import django; django.setup()\n"
        "from django.core.cache import cache\n"
        "for number in range(200): cache.set(f'key{number}', number, ack='direct')\n"
    )
    environment = {
        **os.environ,
        "HA_MODE": "true",
        "DJANGO_SETTINGS_MODULE": "tests.cache.site",
        "HACACHE_TEST_LOCATION": str(small_node.location),
        **_cluster_environment(),
    }
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=60)
    assert len(default().get_many([f"key{number}" for number in range(200)])) == 200


def _cluster_environment():
    from django.conf import settings

    return {name: str(value) for name, value in settings.HACACHE.items()}


def test_a_signal_handler_in_the_middle_of_a_direct_write_makes_its_own(small_node):
    cache, made = default(), []

    def handler(*_):
        made.append(len(made))
        cache.set(f"handler{made[-1]}", made[-1], ack="direct")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        number = 0

        def enough():
            nonlocal number
            signal.setitimer(signal.ITIMER_REAL, 0.0002)
            for _ in range(20):
                cache.set("key", number, ack="direct")
                number += 1
            return len(made) >= 100

        eventually(enough, 30)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    cache.set("end", 1)
    assert cache.get("key") == number - 1
    assert len(cache.get_many([f"handler{one}" for one in made])) == len(made)


class TimeLimit(Exception):
    pass


def test_a_time_limit_in_the_middle_of_a_direct_write_leaves_the_line_in_order(small_node):
    cache, raised = default(), []

    def handler(*_):
        raise TimeLimit

    before = signal.signal(signal.SIGALRM, handler)
    try:

        def enough():
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0003)
                for _ in range(50):
                    cache.set("key", "x" * 1000, ack="direct")
                signal.setitimer(signal.ITIMER_REAL, 0)
            except TimeLimit:
                raised.append(True)
            return len(raised) >= 100

        eventually(enough, 30)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    cache.set("key", "last", ack="direct")
    cache.set("end", 1)
    assert cache.get("key") == "last"


@pytest.fixture
def levels(monkeypatch):
    """The levels at which writes are made from now on."""
    seen = []
    perform = ClusterWriter.perform

    def noting(self, change, *, ack, deadline):
        seen.append(ack)
        return perform(self, change, ack=ack, deadline=deadline)

    monkeypatch.setattr(ClusterWriter, "perform", noting)
    return seen


FRAGMENT = "{% load cache %}{% cache 60 sidebar %}{{ number }}{% endcache %}"


def fill_a_page():
    view = cache_page(60)(lambda _request: HttpResponse(b"page"))
    assert view(RequestFactory().get("/page/")).content == b"page"


def fill_a_fragment():
    assert engines["django"].from_string(FRAGMENT).render({"number": 7}) == "7"


@pytest.mark.parametrize("fill", [fill_a_page, fill_a_fragment])
def test_what_can_be_made_again_is_stored_without_waiting(small_node, levels, fill):
    fill()
    assert set(levels) == {AckLevel.DIRECT}


@pytest.mark.parametrize("fill", [fill_a_page, fill_a_fragment])
def test_a_site_may_choose_another_level_for_it(small_node, levels, settings, fill):
    settings.CACHES = {"default": {**settings.CACHES["default"], "OPTIONS": {"FILL_ACK_LEVEL": "quorum"}}}
    fill()
    assert set(levels) == {AckLevel.QUORUM}


def test_a_fragment_that_is_stored_or_removed_with_a_level_of_its_own_has_that(small_node, levels):
    key = make_template_fragment_key("sidebar")
    default().set(key, "text", ack="all")
    default().delete(key)
    default().set("template", 1)
    assert levels == [AckLevel.ALL, AckLevel.QUORUM, AckLevel.QUORUM]


def test_get_or_set_at_level_direct_stores_unless_there_is_something_and_waits_for_nobody(small_node, style):
    cache = style(default())
    with standing_still(small_node):
        assert cache.get_or_set("key", lambda: "first", ack="direct") == "first"
        assert cache.get_or_set("key", "second", ack="direct") == "second"
    eventually(lambda: cache.get("key") == "first")
    assert cache.get_or_set("key", "third", ack="direct") == "first"
    cache.set("end", 1)
    assert cache.get("key") == "first"
