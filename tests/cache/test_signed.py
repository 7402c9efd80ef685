"""A cache with SIGNING_KEYS: the same API, and who has no key stores nothing that is taken for a value."""

from __future__ import annotations

import logging
import pickle

import pytest

from django_hacache.changes.outcome import Why
from django_hacache.changes.vocabulary import Increment
from django_hacache.system.platform import monotonic
from django_hacache.values.serializers import SIGNED, encode, marked_foreign
from django_hacache.values.signing import BODY, SIGNATURE_BYTES, codec_of
from django_hacache.worker import unreadable
from tests.cache.raw import change, store, stored
from tests.cache.site import SIGNING_KEYS, cache_settings
from tests.cache.test_api import (  # noqa: F401 - they are collected here, with the cache of this module
    TestAdd,
    TestGetAndSet,
    TestGetOrSet,
    TestIncr,
    TestMany,
)
from tests.cache.test_names import TestVersions  # noqa: F401 - as above

NEW = "a key that only some of the workers have"
KEY, FORMER = (key.encode() for key in SIGNING_KEYS)

exploded = []


class Bomb:
    def __reduce__(self):
        return exploded.append, (1,)


@pytest.fixture(autouse=True)
def nothing_yet(monkeypatch):
    monkeypatch.setattr(unreadable, "_logged_at", {})
    exploded.clear()


@pytest.fixture
def cache(caches, style):
    return style(caches["signed"])


def signed(key, value, *, cache="signed", with_key=KEY):
    return codec_of(cache, [with_key]).encode(key, value)


HERE = ":1:key"
FORGED = {
    "pickle": encode(Bomb()),
    "pickle of an old protocol": pickle.dumps(Bomb(), 0),
    "integer": encode(1),
    "bytes of a stranger": marked_foreign(encode(Bomb())),
    "mark alone": bytes([SIGNED]),
    "pickle with the mark": bytes([SIGNED]) + encode(Bomb()),
    "no tag": bytes([SIGNED]) + bytes(SIGNATURE_BYTES) + encode(Bomb()),
    "of another key": signed(":1:other", Bomb()),
    "of another version": signed(":2:key", Bomb()),
    "of another prefix": signed("site:1:key", Bomb()),
    "of another cache": signed(HERE, Bomb(), cache="signed too"),
    "of another site": signed(HERE, Bomb(), with_key=b"a key of somebody else, 32 bytes"),
    "short tag": signed(HERE, Bomb())[:SIGNATURE_BYTES] + encode(Bomb()),
    "tag of an integer": signed(HERE, 1)[:BODY] + encode(Bomb()),
    "integer under the tag of a text": signed(HERE, "\x01")[:BODY] + encode(1),
    "cut off": signed(HERE, Bomb())[:-1],
    "longer": signed(HERE, 1) + b"0",
    "nothing": b"",
}


@pytest.mark.parametrize("data", FORGED.values(), ids=FORGED)
def test_what_no_key_has_signed_for_this_place_is_a_miss_and_runs_nothing(cache, data):
    store("signed", "key", data)
    cache.set("other", 1)
    assert cache.get("key", "default") == "default"
    assert cache.get_many(["key", "other"]) == {"other": 1}
    assert not cache.has_key("key")
    for method in (cache.incr, cache.decr, cache.incr_version):
        with pytest.raises(ValueError, match="'key' not found"):
            method("key")
    assert cache.get_or_set("key", 2) == 2
    assert cache.get("key") == 2
    assert exploded == []


def test_who_adds_finds_the_key_taken_whoever_took_it(cache):
    store("signed", "key", FORGED["pickle"])
    assert not cache.add("key", 1)
    assert cache.get("key") is None


def test_what_is_stored_is_signed_whoever_stores_it(cache):
    def all_signed(*keys):
        return all(stored("signed", key)[0] == SIGNED for key in keys)

    cache.set("a", "text")
    cache.set_many({"b": 1, "c": None})
    cache.add("d", 1.5)
    cache.get_or_set("e", 5)
    cache.incr("e")
    cache.incr("d")
    cache.touch("a", 50)
    cache.incr_version("a")
    assert all_signed("b", "c", "d", "e")
    assert cache.get_many("bcde") == {"b": 1, "c": None, "d": 2.5, "e": 6}
    assert cache.get("a", version=2) == "text"


def test_who_orders_the_changes_counts_what_is_signed_and_nothing_else(caches):
    cache = caches["signed"]
    cache.set("key", 41)
    assert change("signed", Increment(HERE, 1)).number == 42
    assert cache.get("key") == 42
    store("signed", "key", encode(41))
    assert change("signed", Increment(HERE, 1)).why is Why.NOT_AN_INTEGER
    assert stored("signed", "key") == encode(41)


@pytest.fixture
def ahead(caches, served, settings, style):
    """The same cache as a worker has it that was given a new key before the node was."""
    entries = cache_settings(str(served.location))
    entries["signed"]["OPTIONS"]["SIGNING_KEYS"] = [NEW, *SIGNING_KEYS]
    settings.CACHES = entries
    return style(caches["signed"])


def test_values_outlive_a_change_of_keys(caches, ahead):
    for former in (KEY, FORMER):
        store("signed", "key", signed(HERE, [1], with_key=former))
        assert ahead.get("key") == [1]
    assert ahead.get_many(["key"]) == {"key": [1]}
    ahead.set("key", [2])
    assert codec_of("signed", [NEW.encode()]).decode(HERE, stored("signed", "key")) == [2]


def test_counters_go_on_where_the_node_does_not_know_the_key_yet(caches, ahead):
    ahead.set("key", 1)
    assert [ahead.incr("key"), ahead.incr("key", 10), ahead.decr("key")] == [2, 12, 11]
    store("signed", "key", signed(HERE, 5))
    assert ahead.incr("key") == 6


def test_without_keys_what_is_signed_is_a_miss_until_it_is_replaced(caches, style, caplog):
    cache = style(caches["default"])
    store("default", "key", signed(HERE, Bomb(), cache="default"))
    assert cache.get("key", "default") == "default"
    with pytest.raises(ValueError, match="'key' not found"):
        cache.incr("key")
    assert cache.get_or_set("key", 1) == 1
    assert cache.get("key") == 1
    assert exploded == []
    [message] = caplog.messages
    assert "SIGNING_KEYS is not set" in message


def test_aliases_of_one_cache_sign_alike_and_keep_their_places(caches, style):
    view = style(caches["signed view"])
    view.set("key", 1)
    assert style(caches["signed"]).get("key") is None
    store("signed", "key", stored("signed view", "key"))
    assert style(caches["signed"]).get("key") is None
    assert view.get("key") == 1


def test_a_forgery_is_logged_once_an_hour_for_each_kind(caches, caplog, monkeypatch):
    now = float(round(monotonic()))  # so that sums are exact
    monkeypatch.setattr(unreadable, "monotonic", lambda: now)
    with caplog.at_level(logging.WARNING, "django_hacache.cache"):
        for _ in range(3):
            for kind in ("pickle", "no tag", "of another key"):
                store("signed", "key", FORGED[kind])
                assert caches["signed"].get("key") is None
        assert len(caplog.messages) == 2
        assert "not signed" in caplog.messages[0]
        assert "signature is wrong" in caplog.messages[1]
        now += unreadable.INTERVAL_S + 1
        assert caches["signed"].get("key") is None
        assert len(caplog.messages) == 3


def test_the_secret_key_of_the_site_can_sign(caches, served, settings, style):
    settings.SECRET_KEY = "a secret key, for tests, that is long enough"
    entries = cache_settings(str(served.location))
    entries["by Django's"] = entries["default"] | {
        "OPTIONS": {"SIGNING_KEYS": "secret_key", "CACHE_NAME": "twin"}
    }
    del entries["twin"]
    settings.CACHES = entries
    cache = style(caches["by Django's"])
    cache.set("key", "text")
    assert cache.get("key") == "text"
    data = stored("by Django's", "key")
    assert codec_of("twin", [settings.SECRET_KEY.encode()]).decode(HERE, data) == "text"
