"""What workers ask of a node, and what they make of each of its answers."""

from __future__ import annotations

import pytest
from django.core.cache import caches

from django_hacache.exceptions import (
    CacheBusy,
    CacheUnavailable,
    OutcomeUnknown,
    RequestRefused,
    UnknownCache,
    ValueTooLarge,
)
from tests.waiting import eventually


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ("no quorum", CacheUnavailable),
        ("busy", CacheBusy),
        ("outcome unknown", OutcomeUnknown),
        ("refused", RequestRefused),
        ("unknown cache", UnknownCache),
        ("too large", ValueTooLarge),
    ],
)
@pytest.mark.filterwarnings("ignore::django.core.cache.backends.base.CacheKeyWarning")
def test_each_error_of_the_node_has_its_exception(small_node, style, key, error):
    with pytest.raises(error) as failure:
        style(caches["default"]).set(key, 1)
    assert type(failure.value) is error
    assert "as asked" in str(failure.value)


@pytest.mark.filterwarnings("ignore::django.core.cache.backends.base.CacheKeyWarning")
def test_a_cache_that_the_node_does_not_know_yet_can_be_ignored(small_node, style):
    style(caches["ignoring"]).set("unknown cache", 1)
    assert style(caches["ignoring"]).delete("unknown cache") is False


@pytest.mark.filterwarnings("ignore::django.core.cache.backends.base.CacheKeyWarning")
def test_a_cache_that_the_node_does_not_know_yet_stops_no_other_one(small_node, style):
    with pytest.raises(CacheUnavailable):
        style(caches["default"]).set("unknown cache", 1)
    # The breaker is closed: nothing has failed but this.
    style(caches["twin"]).set("key", 1)


@pytest.mark.filterwarnings("ignore::django.core.cache.backends.base.CacheKeyWarning")
def test_a_cache_that_has_no_room_just_now_stops_no_other_one(small_node, style):
    for _ in range(2):
        with pytest.raises(CacheBusy, match="as asked"):
            style(caches["default"]).set("busy", 1)
    style(caches["twin"]).set("key", 1)
    style(caches["default"]).set("key", 1)


@pytest.mark.parametrize("level", ["direct", "leader", "once", "quorum", "all"])
@pytest.mark.filterwarnings("ignore::django.core.cache.backends.base.CacheKeyWarning")
def test_the_level_of_acknowledgement_of_a_call(small_node, style, level):
    cache = style(caches["default"])
    cache.set("ack level", 1, ack=level)
    eventually(lambda: cache.get("ack level") == f"level_{level}")


@pytest.mark.filterwarnings("ignore::django.core.cache.backends.base.CacheKeyWarning")
def test_the_level_of_acknowledgement_of_an_alias(small_node, style):
    for alias, level in (("default", "level_quorum"), ("direct", "level_direct")):
        cache = style(caches[alias])
        cache.set("ack level", 1)
        eventually(lambda cache=cache, level=level: cache.get("ack level") == level)


@pytest.mark.filterwarnings("ignore::django.core.cache.backends.base.CacheKeyWarning")
def test_a_decision_is_never_taken_without_waiting_for_it(small_node, style):
    cache = style(caches["direct"])
    assert cache.add("ack level", 1)
    assert cache.get("ack level") == "level_leader"


def test_an_unknown_level_is_an_error(small_node, style):
    with pytest.raises(ValueError, match="both"):
        style(caches["default"]).set("key", 1, ack="both")
