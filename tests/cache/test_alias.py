"""Which alias a cache object stands for, and what settings that cannot work say."""

from __future__ import annotations

import threading

import pytest
from django.core.cache import caches

from django_hacache import process
from django_hacache.cache import HACache
from django_hacache.exceptions import ConfigurationError
from tests.cache.site import BACKEND


class OwnCache(HACache):
    pass


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


def test_each_thread_finds_the_same_cache(configure):
    configure(a={}, b={})
    caches["a"].set("key", 1)
    found = []
    thread = threading.Thread(target=lambda: found.extend([caches["a"].get("key"), caches["b"].get("key")]))
    thread.start()
    thread.join()
    assert found == [1, None]


def test_an_object_that_could_be_one_of_two_aliases_says_so(configure):
    configure(a={}, b={})
    one = caches["a"]
    failures = []

    def use() -> None:
        try:
            one.get("key")
        except ConfigurationError as error:
            failures.append(str(error))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert "a, b" in failures[0]
    assert "KEY_PREFIX" in failures[0]


def test_a_cache_that_no_alias_describes_is_the_default_one_of_its_location(configure, tmp_path):
    configure(a={})
    built, again = HACache(str(tmp_path), {}), HACache(str(tmp_path), {"timeout": 5})
    built.set("key", 1)
    assert again.get("key") == 1
    assert caches["a"].get("key") is None
    assert HACache(str(tmp_path / "other"), {}).get("key") is None


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
