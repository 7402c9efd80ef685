"""Writes that are waited for together: in a block of code, and in each request."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.cache import caches as django_caches
from django.http import HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client
from django.urls import path

from django_hacache.exceptions import CacheBusy, CacheUnavailable, OutcomeUnknown, ValueTooLarge
from django_hacache.together import together
from django_hacache.worker.block import current
from tests.cache.processes import FORKS, in_child
from tests.cache.styles import Styled
from tests.node_process import serves
from tests.waiting import eventually

pytestmark = pytest.mark.filterwarnings("ignore::django.core.cache.backends.base.CacheKeyWarning")


@contextmanager
def block_of(cache: Styled):
    """A block in the style in which the cache is called."""
    runner, block = cache._runner, together()
    if runner is None:
        with block:
            yield
        return
    runner.run(block.__aenter__())
    try:
        yield
    except BaseException as error:
        runner.run(block.__aexit__(type(error), error, error.__traceback__))
        raise
    runner.run(block.__aexit__(None, None, None))


@contextmanager
def standing_still(node):
    node.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        if node.process is not None:
            node.process.send_signal(signal.SIGCONT)


def test_a_block_sees_what_it_has_written_and_so_does_everybody_after_it(cache):
    cache.set_many({"old": 1, "older": 2, "lasting": 3})
    with block_of(cache):
        cache.set("key", "first")
        assert cache.get("key") == "first"
        cache.set("key", "second")
        cache.set("other", 1)
        assert cache.get_many(["key", "other"]) == {"key": "second", "other": 1}
        cache.delete("old")
        assert not cache.has_key("old")
        assert cache.set_many({"a": 1, "b": 2}) == []
        cache.delete_many(["older", "a"])
        cache.touch("lasting", 0)
    assert cache.get_many(["key", "other", "old", "older", "lasting", "a", "b"]) == {
        "key": "second",
        "other": 1,
        "b": 2,
    }


def test_decisions_in_a_block_are_made_after_what_was_handed_over(cache):
    with block_of(cache):
        cache.set("number", 1)
        assert cache.incr("number") == 2
        cache.set("taken", 1)
        assert cache.add("taken", 2) is False
        cache.delete("taken")
        assert cache.add("taken", 3) is True
        cache.set("value", 4)
        assert cache.get_or_set("value", 5) == 4
        cache.set("moves", 6)
        assert cache.incr_version("moves") == 2
        cache.set("gone", 7)
        cache.clear()
        assert cache.get("gone") is None
        with pytest.raises(ValueError, match="number"):
            cache.incr("number")


def test_writes_return_while_the_node_stands_still_and_the_block_ends_after_their_answers(small_node, style):
    cache = style(django_caches["default"])
    cache.set_many({"old": 1, "older": 1})
    with block_of(cache), standing_still(small_node):
        for number in range(10):
            cache.set(f"key{number}", number)
        assert cache.delete("old") is True
        assert cache.touch("missing") is True
        assert cache.set_many({"a": 1, "b": 2}) == []
        assert cache.delete_many(["older"]) is None
    assert len(cache.get_many([f"key{number}" for number in range(10)])) == 10
    assert cache.get_many(["old", "older", "a", "b"]) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("key", "kind"),
    [("no quorum", CacheUnavailable), ("outcome unknown", OutcomeUnknown), ("too large", ValueTooLarge)],
)
def test_a_failure_is_raised_at_the_end_of_the_block_as_what_it_would_have_been(small_node, style, key, kind):
    cache = style(django_caches["default"])
    reached = []
    with pytest.raises(kind) as failure, block_of(cache):
        cache.set(key, 1)
        cache.set("after", 1)
        assert cache.get(key) is None
        reached.append(True)
    assert type(failure.value) is kind
    assert reached


def test_a_failure_that_the_alias_ignores_is_logged(small_node, style, caplog):
    cache = style(django_caches["ignoring"])
    with block_of(cache):
        cache.set("no quorum", 1)
    assert "was ignored: as asked" in caplog.text


def test_an_exception_in_a_block_goes_on_and_the_failures_of_writes_are_logged(small_node, style, caplog):
    cache = style(django_caches["default"])
    with pytest.raises(ZeroDivisionError), block_of(cache):
        cache.set("no quorum", 1)
        cache.set("key", 1)
        raise ZeroDivisionError
    assert cache.get("key") == 1
    assert "set on the cache 'default' failed: as asked" in caplog.text


def test_a_block_in_another_one_waits_for_its_writes(small_node, style):
    cache = style(django_caches["default"])
    outer_went_on = []
    with block_of(cache):
        with pytest.raises(CacheBusy), block_of(cache):
            cache.set("busy", 1)
        outer_went_on.append(True)
        cache.set("key", 1)
    assert outer_went_on
    assert cache.get("key") == 1


def test_what_a_dead_node_had_not_answered_is_sent_to_its_successor(small_node, style):
    cache = style(django_caches["default"])
    cache.set("key", 0)
    with block_of(cache):
        with standing_still(small_node):
            cache.set("key", 1)
            cache.set("other", 2)
            small_node.kill()
        eventually(lambda: not serves(small_node.location))
        small_node.start()
    assert cache.get_many(["key", "other"]) == {"key": 1, "other": 2}


def test_a_node_that_does_not_answer_in_time_leaves_the_outcome_unknown(small_node, style):
    cache = style(django_caches["hasty"])
    cache.set("key", 0)
    with standing_still(small_node), pytest.raises(OutcomeUnknown), block_of(cache):
        cache.set("key", 1)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_block_waits_in_between_where_very_many_writes_are_on_their_way(small_node, monkeypatch, is_async):
    monkeypatch.setattr("django_hacache.worker.block.WRITES_MAX", 5)
    cache: Any = django_caches["default"]
    names = [f"key{number}" for number in range(6)]

    def is_on_its_way(name):
        block: Any = current()
        return block.is_on_its_way(cache._site, cache._cache_name, [cache.make_key(name)])

    async def scenario():
        async with together():
            for name in names:
                if is_async:
                    await cache.aset(name, 1)
                else:
                    cache.set(name, 1)
            assert [is_on_its_way(name) for name in names] == [False] * 5 + [True]

    asyncio.run(scenario())
    assert len(cache.get_many(names)) == 6


def test_nobody_waits_for_a_direct_write_in_a_block_either(small_node, style):
    cache = style(django_caches["default"])
    with standing_still(small_node), block_of(cache):
        cache.set("key", 1, ack="direct")
    eventually(lambda: cache.get("key") == 1)


@pytest.mark.parametrize("fork", FORKS, ids=["Python's", "the C library's"])
def test_a_child_forked_in_a_block_leaves_its_parents_writes_alone(small_node, fork):
    cache: Any = django_caches["default"]
    cache.set("key", 0)
    block = together()
    with block:
        with standing_still(small_node):
            cache.set("key", 1)

            def child():
                block.__exit__(None, None, None)
                return 0

            assert in_child(child, fork) == 0
        assert in_child(lambda: int(cache.set("child", 2) or cache.get("child") != 2), fork) == 0
    assert cache.get("key") == 1


def test_a_block_of_coroutines_holds_what_its_threads_write(small_node):
    cache: Any = django_caches["default"]

    def plain():
        cache.set("of thread", 1)
        assert cache.get("of loop") == 0

    async def scenario():
        async with together():
            await cache.aset("of loop", 0)
            await sync_to_async(plain)()
            assert await cache.aget("of thread") == 1
            await asyncio.gather(*(cache.aset(f"key{number}", number) for number in range(50)))
            cache.set("plain", 2)
            assert cache.get("plain") == 2

    asyncio.run(scenario())
    assert len(cache.get_many([f"key{number}" for number in range(50)])) == 50


def test_a_task_that_outlives_its_block_waits_as_ever(small_node):
    cache: Any = django_caches["default"]

    async def later(ended):
        await ended.wait()
        assert current() is None
        await cache.aset("key", 1)
        return cache.get("key")

    async def scenario():
        ended = asyncio.Event()
        async with together():
            task = asyncio.create_task(later(ended))
            await asyncio.sleep(0)
        ended.set()
        return await task

    assert asyncio.run(scenario()) == 1


def test_a_time_limit_at_the_end_of_a_block_reaches_the_caller(small_node):
    cache: Any = django_caches["default"]
    cache.set("key", 0)

    def handler(*_):
        raise KeyError

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with standing_still(small_node), pytest.raises(KeyError), together():
            cache.set("key", 1)
            signal.setitimer(signal.ITIMER_REAL, 0.05)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert current() is None
    cache.set("key", 2)
    assert cache.get("key") == 2


# A site


def page(request):
    cache: Any = django_caches["default"]
    for number in range(5):
        cache.set(f"{request.GET['key']}{number}", number)
    assert current() is not None
    return HttpResponse(b"page")


async def coroutine_page(request):
    cache: Any = django_caches["default"]
    for number in range(5):
        await cache.aset(f"{request.GET['key']}{number}", number)
    assert current() is not None
    return HttpResponse(b"page")


def failing(_request):
    django_caches["default"].set("no quorum", 1)
    return HttpResponse(b"page")


def stream(request):
    cache: Any = django_caches["default"]

    def parts():
        assert current() is None
        cache.set(f"{request.GET['key']}0", 0)
        yield str(cache.get(f"{request.GET['key']}0")).encode()

    return StreamingHttpResponse(parts())


urlpatterns = [
    path("page/", page),
    path("coroutine/", coroutine_page),
    path("stream/", stream),
    path("failing/", failing),
]


@pytest.fixture
def site(settings):
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = ["django_hacache.together.TogetherMiddleware"]


@pytest.mark.parametrize("url", ["/page/", "/coroutine/"])
def test_a_response_leaves_when_all_writes_of_its_request_are_acknowledged(small_node, site, url):
    assert Client().get(url, {"key": "key"}).content == b"page"
    assert asyncio.run(AsyncClient().get(url, {"key": "other"})).content == b"page"
    names = [f"{key}{number}" for key in ("key", "other") for number in range(5)]
    assert len(django_caches["default"].get_many(names)) == 10


@pytest.mark.parametrize("is_async", [False, True])
def test_a_failed_write_is_a_failed_request(small_node, site, is_async):
    """Django's own way of exceptions: it is logged, and answered by the page for errors."""
    if is_async:
        client = AsyncClient(raise_request_exception=False)
        response = asyncio.run(client.get("/failing/"))
    else:
        response = Client(raise_request_exception=False).get("/failing/")
    assert response.status_code == 500


def test_what_a_streaming_response_writes_is_waited_for_as_ever(small_node, site):
    assert b"".join(Client().get("/stream/", {"key": "key"})) == b"0"
