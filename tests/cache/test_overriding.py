"""Methods that a subclass, or a tool that watches, has put in place of ours are honoured as in Django's base class."""

from __future__ import annotations

import asyncio
import threading
import zlib

import pytest
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache

from django_hacache.cache import HACache
from django_hacache.worker import process
from django_hacache.worker.coroutines import COUNTERPARTS
from tests.cache.site import BACKEND


class CompressedCache(HACache):
    """Takes and returns texts; what is stored is compressed. The signatures are Django's, without ours."""

    def set(self, key, value, timeout=60, version=None):
        super().set(key, zlib.compress(value.encode()), timeout, version)

    def add(self, key, value, timeout=60, version=None):
        return super().add(key, zlib.compress(value.encode()), timeout, version)

    def get(self, key, default=None, version=None):
        found = super().get(key, None, version)
        return default if found is None else zlib.decompress(found).decode()


class AsyncCompressedCache(HACache):
    """The same for a site that has coroutines only."""

    async def aset(self, key, value, timeout=60, version=None):  # noqa: ASYNC109 - as Django has it
        await super().aset(key, zlib.compress(value.encode()), timeout, version)

    async def aget(self, key, default=None, version=None):
        found = await super().aget(key, None, version)
        return default if found is None else zlib.decompress(found).decode()


class KeepingCache(HACache):
    def delete(self, key, version=None):
        return False

    async def adelete(self, key, version=None):
        return False


@pytest.fixture
def made(settings, tmp_path):
    def made(backend):
        settings.HACACHE = {"HA_MODE": "false"}
        settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": str(tmp_path / "replica")}}
        return caches["default"]

    yield made
    process.close()


def in_loop(coroutine):
    return asyncio.run(coroutine)


def test_get_or_set_and_the_many_go_through_a_subclass(made):
    cache = made(f"{__name__}.CompressedCache")
    assert cache.get_or_set("a", "one") == "one"
    assert cache.get_or_set("a", "two") == "one"
    assert cache.set_many({"b": "two", "c": "three"}) == []
    assert cache.get_many(["a", "b", "c", "missing"]) == {"a": "one", "b": "two", "c": "three"}
    assert HACache.get(cache, "b") == zlib.compress(b"two")


def test_coroutines_go_through_a_subclass(made):
    cache = made(f"{__name__}.CompressedCache")
    in_loop(cache.aset("a", "one"))
    assert in_loop(cache.aadd("b", "two"))
    assert in_loop(cache.aget_or_set("c", lambda: "three")) == "three"
    assert in_loop(cache.aset_many({"d": "four"})) == []
    assert cache.get_many("abcd") == {"a": "one", "b": "two", "c": "three", "d": "four"}
    assert in_loop(cache.aget_many("abcd")) == cache.get_many("abcd")
    assert in_loop(cache.aget("a")) == "one"


def test_coroutines_of_a_subclass_are_what_the_larger_ones_are_made_of(made):
    cache = made(f"{__name__}.AsyncCompressedCache")
    in_loop(cache.aset_many({"a": "one"}))
    assert cache.get("a") == zlib.compress(b"one")
    assert in_loop(cache.aget_many(["a"])) == {"a": "one"}
    assert in_loop(cache.aget_or_set("a", "two")) == "one"


def test_delete_many_goes_through_a_subclass(made):
    cache = made(f"{__name__}.KeepingCache")
    cache.set("a", 1)
    cache.delete_many(["a"])
    in_loop(cache.adelete_many(["a"]))
    assert cache.get("a") == 1


ARGUMENTS = {
    "get": ("a",),
    "get_many": (["a"],),
    "has_key": ("a",),
    "set": ("a", 1),
    "add": ("a", 1),
    "touch": ("a",),
    "delete": ("a",),
    "incr": ("number",),
    "decr": ("number",),
    "incr_version": ("number",),
    "decr_version": ("number", 1, 2),
    "set_many": ({"a": 1},),
    "delete_many": (["a"],),
    "clear": (),
}


@pytest.mark.parametrize("name", COUNTERPARTS)
def test_a_tool_that_watches_a_cache_object_sees_its_coroutines(made, name):
    cache = made(BACKEND)
    cache.set("number", 1)
    cache.set("number", 1, version=2)
    seen = []
    original = getattr(cache, name)

    def watched(*args, **kwargs):
        seen.append(threading.current_thread())
        return original(*args, **kwargs)

    setattr(cache, name, watched)
    in_loop(getattr(cache, f"a{name}")(*ARGUMENTS[name]))
    assert len(seen) == 1


class Proxy:
    """What tracing tools put in place of a method: it passes for that in all but its type."""

    def __init__(self, method):
        self.method = method
        self.calls = []

    def __getattr__(self, name):
        return getattr(self.method, name)

    def __call__(self, *args, **kwargs):
        self.calls.append(threading.current_thread())
        return self.method(*args, **kwargs)


@pytest.mark.parametrize("name", COUNTERPARTS)
def test_a_proxy_that_passes_for_a_method_is_called_in_a_thread_all_the_same(made, name):
    cache = made(BACKEND)
    cache.set("number", 1)
    cache.set("number", 1, version=2)
    proxy = Proxy(getattr(cache, name))
    setattr(cache, name, proxy)
    in_loop(getattr(cache, f"a{name}")(*ARGUMENTS[name]))
    assert len(proxy.calls) == 1
    assert proxy.calls != [threading.current_thread()]


def test_a_class_whose_method_was_wrapped_in_place_is_seen_too(made, monkeypatch):
    cache = made(BACKEND)
    seen = []
    original = HACache.set
    monkeypatch.setattr(
        HACache, "set", lambda *args, **kwargs: (seen.append(args[1]), original(*args, **kwargs))
    )
    in_loop(cache.aset("a", 1))
    assert seen == ["a"]


def test_a_subclass_that_replaces_nothing_keeps_the_short_ways(made):
    class Plain(HACache):
        def make_key(self, key, version=None):
            return super().make_key(key, version)

    assert Plain._overridden == frozenset()
    cache = made(BACKEND)

    def refused(*args, **kwargs):
        raise AssertionError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django_hacache.worker.calls.sync_to_async", refused)
        in_loop(cache.aset("a", 1))
        assert in_loop(cache.aget("a")) == 1


def test_every_coroutine_of_django_has_a_counterpart_here():
    coroutines = {
        name
        for name in vars(BaseCache)
        if name.startswith("a") and asyncio.iscoroutinefunction(getattr(BaseCache, name))
    }
    # These two are made of others, and close() has nothing to close.
    assert {f"a{name}" for name in COUNTERPARTS} == coroutines - {"aget_or_set", "aclose"}
