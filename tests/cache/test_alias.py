"""Which alias a cache object stands for, and what settings that cannot work say."""

from __future__ import annotations

import importlib
import threading
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import CacheHandler, caches

from django_hacache.cache import HACache
from django_hacache.exceptions import ConfigurationError
from django_hacache.worker import alias as alias_module
from django_hacache.worker import process
from tests.cache.site import BACKEND


class OwnCache(HACache):
    pass


class BriefCache(HACache):
    """Changes its parameters before HACache sees them."""

    def __init__(self, location, params):
        super().__init__(location, {**params, "TIMEOUT": 5})


@pytest.fixture
def configure(settings, tmp_path):
    settings.HACACHE = {"HA_MODE": "false"}

    def configure(**aliases):
        settings.CACHES = {
            "default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
            **{
                alias: {"BACKEND": BACKEND, "LOCATION": str(tmp_path / "replica"), **entry}
                for alias, entry in aliases.items()
            },
        }

    yield configure
    process.close()


def test_aliases_of_one_location_differ_by_any_setting(configure):
    configure(a={}, b={"KEY_PREFIX": "b"}, c={"OPTIONS": {"MAX_ENTRIES": 5}})
    for alias in "abc":
        caches[alias].set("key", alias)
    assert [caches[alias].get("key") for alias in "abc"] == ["a", "b", "c"]


def test_subclasses_are_caches_of_their_own(configure):
    configure(a={}, b={"BACKEND": f"{__name__}.OwnCache"})
    caches["a"].set("key", 1)
    assert caches["b"].get("key") is None


def test_a_subclass_that_changes_its_parameters_is_still_its_own_alias(configure):
    brief = f"{__name__}.BriefCache"
    configure(default={}, a={"BACKEND": brief}, other={"BACKEND": f"{__name__}.OwnCache"})
    for alias in ("default", "a", "other"):
        caches[alias].set("key", alias)
    caches["a"].clear()
    assert [caches[alias].get("key") for alias in ("default", "a", "other")] == ["default", None, "other"]


def test_several_aliases_of_such_a_subclass_are_told_apart_where_django_keeps_them(configure):
    brief = f"{__name__}.BriefCache"
    configure(a={"BACKEND": brief}, b={"BACKEND": brief, "KEY_PREFIX": "b"})
    for alias in "ab":
        caches[alias].set("key", alias)
    caches["b"].clear()
    assert [caches[alias].get("key") for alias in "ab"] == ["a", None]


def test_a_cache_of_a_related_class_that_fits_one_alias_stands_for_it(configure, tmp_path):
    configure(a={"KEY_PREFIX": "a"})
    caches["a"].set("key", 1)
    built = BriefCache(str(tmp_path / "replica"), {"KEY_PREFIX": "a"})
    assert built.get("key") == 1


def test_a_cache_built_by_hand_that_fits_several_aliases_names_them(configure, tmp_path):
    configure(a={}, b={"KEY_PREFIX": "b"})
    with pytest.raises(ConfigurationError, match="a, b"):
        HACache(str(tmp_path / "replica"), {"TIMEOUT": 5}).clear()


def test_each_thread_finds_the_same_cache(configure):
    configure(a={}, b={})
    caches["a"].set("key", 1)
    found = []
    thread = threading.Thread(target=lambda: found.extend([caches["a"].get("key"), caches["b"].get("key")]))
    thread.start()
    thread.join()
    assert found == [1, None]


def test_an_object_that_was_made_in_another_thread_is_its_alias_whatever_else_is_configured_alike(configure):
    brief = f"{__name__}.BriefCache"
    configure(a={}, b={}, c={"BACKEND": brief}, d={"BACKEND": brief})
    of_module = {alias: caches[alias] for alias in "abcd"}

    def use() -> None:
        for alias, cache in of_module.items():
            cache.set("key", alias)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert [caches[alias].get("key") for alias in "abcd"] == list("abcd")


def test_a_tool_around_what_makes_caches_hides_no_alias(configure, monkeypatch):
    original = CacheHandler.create_connection
    monkeypatch.setattr(CacheHandler, "create_connection", lambda *args: original(*args))  # noqa: PLW0108
    # It may have been there before this package was imported.
    monkeypatch.setattr("django_hacache.cache.candidates", importlib.reload(alias_module).candidates)
    configure(a={}, b={})
    made: dict[str, Any] = {alias: caches[alias] for alias in "ab"}
    assert {alias: cache._aliases for alias, cache in made.items()} == {"a": ["a"], "b": ["b"]}


def test_a_cache_that_another_handler_makes_is_found_by_its_settings(configure):
    configure(a={}, b={"KEY_PREFIX": "b"})
    caches["b"].set("key", 1)
    assert CacheHandler({"x": settings.CACHES["b"]})["x"].get("key") == 1


def test_a_cache_that_no_alias_describes_is_the_default_one_of_its_location(configure, tmp_path):
    configure(a={})
    built, again = HACache(str(tmp_path), {}), HACache(str(tmp_path), {"timeout": 5})
    built.set("key", 1)
    assert again.get("key") == 1
    assert caches["a"].get("key") is None
    assert HACache(str(tmp_path / "other"), {}).get("key") is None


def test_aliases_that_name_one_cache_are_views_of_it(configure):
    configure(
        a={},
        b={"OPTIONS": {"CACHE_NAME": "a", "IGNORE_EXCEPTIONS": True}},
        newer={"VERSION": 2, "OPTIONS": {"CACHE_NAME": "a"}},
        prefixed={"KEY_PREFIX": "p", "OPTIONS": {"CACHE_NAME": "a"}},
        alone={},
    )
    for alias in ("a", "newer", "prefixed", "alone"):
        caches[alias].set("key", alias)
    assert caches["b"].get("key") == "a"
    assert caches["a"].get("key", version=2) == "newer"
    assert caches["newer"].get("key") == "newer"
    assert caches["prefixed"].get("key") == "prefixed"
    caches["a"].incr_version("key", 2)
    assert caches["newer"].get("key", version=3) == "a"
    caches["b"].clear()
    assert [caches[alias].get("key") for alias in ("a", "newer", "prefixed", "alone")] == [
        None,
        None,
        None,
        "alone",
    ]


def test_aliases_of_one_cache_share_the_limits_that_one_of_them_says(configure):
    configure(a={"OPTIONS": {"CACHE_NAME": "one"}}, b={"OPTIONS": {"CACHE_NAME": "one", "MAX_ENTRIES": 10}})
    for number in range(50):
        caches["a"].set(f"k{number}", number)
    assert len(caches["b"].get_many(f"k{number}" for number in range(50))) <= 10


def test_aliases_of_one_cache_that_contradict_each_other_are_refused(configure):
    configure(a={"OPTIONS": {"SIZE_LIMIT": "1MB"}}, b={"OPTIONS": {"CACHE_NAME": "a", "SIZE_LIMIT": "2MB"}})
    for alias in "ab":
        with pytest.raises(
            ConfigurationError, match="the same cache 'a', and SIZE_LIMIT is 1000000 in one and 2000000"
        ):
            caches[alias].get("key")


def test_a_misspelt_option_is_an_error_at_the_first_use(configure):
    configure(a={"OPTIONS": {"WRITE_TIMOUT": 3}})
    with pytest.raises(ConfigurationError, match="WRITE_TIMEOUT"):
        caches["a"].get("key")


def test_changed_settings_count(configure):
    configure(a={"OPTIONS": {"MAX_VALUE_SIZE": 100}})
    with pytest.raises(ValueError, match="100"):
        caches["a"].set("key", "x" * 200)
    configure(a={"OPTIONS": {"MAX_VALUE_SIZE": 1000}})
    caches["a"].set("key", "x" * 200)
