"""Where a value is found: keys, versions, prefixes and aliases."""

from __future__ import annotations

import contextlib
import warnings

import pytest
from django.core.cache.backends.base import CacheKeyWarning

from tests.cache.test_api import VALUES


class TestVersions:
    def test_each_version_of_a_key_has_a_value_of_its_own(self, cache):
        cache.set("key", "one")
        cache.set("key", "two", version=2)
        assert cache.get("key") == "one"
        assert cache.get("key", version=1) == "one"
        assert cache.get("key", version=2) == "two"
        assert cache.get_many(["key"], version=2) == {"key": "two"}
        assert cache.delete("key", version=2)
        assert cache.get("key") == "one"
        assert not cache.has_key("key", version=2)

    def test_an_alias_has_a_version(self, caches, style):
        cache = style(caches["second"])
        cache.set("key", 1)
        assert cache.get("key", version=2) == 1
        assert cache.get("key", version=1) is None

    def test_every_method_takes_a_version(self, cache):
        assert cache.add("key", 1, version=3)
        assert cache.incr("key", version=3) == 2
        assert cache.touch("key", version=3)
        assert cache.set_many({"key": 5}, version=3) == []
        assert cache.get("key", version=3) == 5
        cache.delete_many(["key"], version=3)
        assert cache.get("key", version=3) is None
        assert cache.get("key") is None

    def test_a_value_moves_to_another_version(self, cache):
        cache.set("key", "value")
        assert cache.incr_version("key") == 2
        assert cache.get("key") is None
        assert cache.get("key", version=2) == "value"
        assert cache.decr_version("key", version=2) == 1
        assert cache.get("key") == "value"
        assert cache.incr_version("key", 3) == 4
        assert cache.get("key", version=4) == "value"

    def test_a_move_replaces_what_the_other_version_held(self, cache):
        cache.set("key", "moved")
        cache.set("key", "replaced", version=2)
        assert cache.incr_version("key") == 2
        assert cache.get("key", version=2) == "moved"

    def test_a_value_of_any_type_moves(self, cache):
        for value in VALUES:
            cache.set("key", value)
            cache.incr_version("key")
            assert cache.get("key", "missed", version=2) == value

    def test_a_moved_value_gets_the_time_to_live_of_its_alias(self, caches, style):
        cache = style(caches["gone"])
        cache.set("key", "value", None)
        cache.set("key", "replaced", None, version=2)
        assert cache.incr_version("key") == 2
        assert not cache.has_key("key")
        assert not cache.has_key("key", version=2)

    def test_a_move_by_nothing_keeps_the_value(self, cache):
        cache.set("key", "value")
        assert cache.incr_version("key", 0) == 1
        assert cache.get("key") == "value"
        with pytest.raises(ValueError, match="missing"):
            cache.incr_version("missing", 0)

    def test_what_moved_away_can_be_added_again(self, cache):
        cache.set("key", "value")
        cache.incr_version("key")
        with pytest.raises(ValueError, match="key"):
            cache.incr("key")
        assert cache.add("key", "again")
        assert cache.get("key") == "again"

    def test_a_move_of_nothing_is_an_error(self, cache):
        with pytest.raises(ValueError, match="key"):
            cache.incr_version("key")
        with pytest.raises(ValueError, match="key"):
            cache.decr_version("key")


class TestKeys:
    def test_a_prefix_and_a_key_function(self, caches, style):
        for alias in ("prefixed", "own keys"):
            cache = style(caches[alias])
            cache.set("key", alias)
            assert cache.get("key") == alias
            assert cache.get_many(["key"]) == {"key": alias}
        assert caches["prefixed"].make_key("key") == "site:1:key"
        assert caches["own keys"].make_key("key") == "ours/1//key"

    @pytest.mark.parametrize("key", ["with space", "x" * 251, "line\nbreak", "del\x7f"])
    def test_keys_that_memcached_refuses_are_warned_of(self, cache, key):
        for call in (
            lambda: cache.get(key),
            lambda: cache.set(key, 1),
            lambda: cache.add(key, 1),
            lambda: cache.touch(key),
            lambda: cache.incr(key),
            lambda: cache.get_many([key]),
            lambda: cache.set_many({key: 1}),
            lambda: cache.delete_many([key]),
            lambda: cache.delete(key),
        ):
            with pytest.warns(CacheKeyWarning), contextlib.suppress(ValueError):
                call()

    def test_other_keys_are_not(self, cache):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            cache.set("x" * 240 + "é", 1)
            cache.get("x" * 240 + "é")


class TestAliases:
    def test_aliases_that_are_configured_alike_are_still_two_caches(self, caches, style):
        one, twin = style(caches["default"]), style(caches["twin"])
        one.set("key", 1)
        twin.set("key", 2)
        assert (one.get("key"), twin.get("key")) == (1, 2)
        twin.clear()
        assert (one.get("key"), twin.get("key")) == (1, None)

    def test_aliases_that_name_one_cache_are_views_of_it(self, caches, style):
        one, view = style(caches["default"]), style(caches["view"])
        one.set("key", 1)
        view.set("key", 2)
        assert (one.get("key"), view.get("key"), one.get("key", version=2)) == (1, 2, 2)
        view.clear()
        assert one.get("key") is None
