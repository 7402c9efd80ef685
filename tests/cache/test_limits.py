"""What goes when a standalone cache is full or its file is gone."""

from __future__ import annotations

import shutil

import pytest
from django.core.cache import caches

from django_hacache.exceptions import ReplicaError, ValueTooLarge
from django_hacache.worker import process
from tests.cache.raw import setup_of
from tests.cache.site import BACKEND
from tests.waiting import eventually


@pytest.fixture
def cache_with(settings, tmp_path):
    settings.HACACHE = {"HA_MODE": "false"}

    def cache_with(location=tmp_path / "replica", **options):
        settings.CACHES = {"default": {"BACKEND": BACKEND, "LOCATION": str(location), "OPTIONS": options}}
        return caches["default"]

    yield cache_with
    process.close()


def test_the_newest_entries_stay_when_there_are_too_many(cache_with):
    cache = cache_with(MAX_ENTRIES=20)
    for number in range(100):
        cache.set(f"k{number}", number)
        assert cache.get(f"k{number}") == number
    found = cache.get_many([f"k{number}" for number in range(100)])
    assert len(found) <= 20
    assert "k0" not in found


def test_a_set_never_fails_because_the_cache_is_full(cache_with):
    cache = cache_with(SIZE_LIMIT=1_000_000)
    for number in range(100):
        cache.set(f"k{number}", bytes(50_000))
        assert cache.get(f"k{number}") == bytes(50_000)
    assert cache.get("k0") is None


def test_a_value_larger_than_the_cache_is_a_clear_error(cache_with):
    cache = cache_with(SIZE_LIMIT=100_000)
    with pytest.raises(ValueTooLarge, match="100000"):
        cache.set("key", bytes(100_001))


def test_expired_entries_make_room_without_being_asked_for(cache_with):
    cache = cache_with()
    cache.set_many({f"k{number}": number for number in range(100)}, 0.01)

    def entries_after_a_write() -> int:
        cache.set("other", 1)
        return setup_of("default").site.reader.usage("default").entries

    eventually(lambda: entries_after_a_write() == 1)


def test_a_location_that_was_wiped_starts_anew(cache_with, tmp_path):
    cache = cache_with()
    cache.set("key", 1)
    shutil.rmtree(tmp_path / "replica")

    def works_again() -> bool:
        cache.set("other", 2)
        return cache.get("other") == 2 and (tmp_path / "replica").exists()

    eventually(works_again)


def test_a_location_that_cannot_be_used_is_named(cache_with, tmp_path):
    (tmp_path / "file").write_text("")
    cache = cache_with(tmp_path / "file")
    with pytest.raises(ReplicaError, match="file"):
        cache.get("key")
    with pytest.raises(ReplicaError, match="file"):
        cache.set("key", 1)


def test_a_location_that_cannot_be_used_can_be_ignored(cache_with, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    cache = cache_with(tmp_path / "file", IGNORE_EXCEPTIONS=True)
    assert cache.get("key", "default") == "default"
    assert cache.get_many(["key"]) == {}
    assert not cache.has_key("key")
    assert cache.set_many({"key": 1}) == ["key"]
    with pytest.raises(ReplicaError):
        cache.add("key", 1)
    assert str(tmp_path) in caplog.text
