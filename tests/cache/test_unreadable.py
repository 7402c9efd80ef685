"""Stored bytes that are no value: a miss, a line in the log, and never an exception in a page."""

from __future__ import annotations

import logging
import pickle

import pytest

from django_hacache import unreadable
from django_hacache.changes import Insert
from django_hacache.serializers import marked_foreign

exploded = []
raising = []


class Bomb:
    def __reduce__(self):
        return exploded.append, (1,)


class Picky:
    """Its state is taken unless a test says what to raise instead, once each."""

    def __init__(self):
        self.state = "some"

    def __setstate__(self, state):
        self.__dict__.update(state)
        if raising:
            raise raising.pop()


class OfTheSite(Exception):
    """An exception that nobody can list beforehand."""


class Broken:
    def __reduce__(self):
        return _break, ()


def _break():
    raise OfTheSite("this state is from another release")


def gone_class():
    return pickle.dumps(Picky(), pickle.HIGHEST_PROTOCOL).replace(b"Picky", b"Moved")


UNREADABLE = {
    "foreign text": marked_foreign(b"text"),
    "foreign pickle": marked_foreign(pickle.dumps(Bomb(), pickle.HIGHEST_PROTOCOL)),
    "unknown tag": b"\x07text",
    "nothing": b"",
    "cut off": pickle.dumps([1, 2, 3], pickle.HIGHEST_PROTOCOL)[:-4],
    "class that is gone": gone_class(),
    "of its own kind": pickle.dumps(Broken(), pickle.HIGHEST_PROTOCOL),
}


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch):
    monkeypatch.setattr(unreadable, "_said", set())
    exploded.clear()
    raising.clear()


def store(cache, key, data):
    """Store bytes as they are."""
    cache._perform("set", Insert(cache.make_key(key), data, None), None)


@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_value_is_a_miss_until_it_is_replaced(caches, style, data):
    store(caches["default"], "key", data)
    cache = style(caches["default"])
    cache.set("other", 1)
    assert cache.get("key", "default") == "default"
    assert cache.get_many(["key", "other"]) == {"other": 1}
    assert cache.get_or_set("key", 2) == 2
    with pytest.raises(ValueError, match="'key' not found"):
        cache.incr("key")
    cache.set("key", 3)
    assert cache.get("key") == 3
    assert exploded == []


def test_it_is_logged_once_for_each_alias_and_kind(caches, caplog):
    with caplog.at_level(logging.WARNING, "django_hacache.cache"):
        for alias in ("default", "prefixed"):
            for key in ("a", "b"):
                store(caches[alias], key, UNREADABLE["foreign text"])
                store(caches[alias], f"{key}-gone", UNREADABLE["class that is gone"])
            for key in ("a", "b", "a-gone", "b-gone", "a"):
                assert caches[alias].get(key) is None
    assert len(caplog.messages) == 4
    for alias in ("default", "prefixed"):
        about = [message for message in caplog.messages if f"cache {alias!r}" in message]
        assert ["outside the site" in message for message in about] == [True, False]
        assert ["Moved" in message for message in about] == [False, True]


def test_there_is_an_end_of_kinds(caches, caplog):
    with caplog.at_level(logging.WARNING, "django_hacache.cache"):
        for number in range(2 * unreadable.KINDS_MAX):
            store(caches["default"], "key", gone_class().replace(b"Moved", b"M%04d" % number))
            assert caches["default"].get("key") is None
    assert len(caplog.messages) == unreadable.KINDS_MAX


def test_a_line_of_the_log_stays_one_line(caches, caplog):
    store(caches["default"], "key", gone_class().replace(b"Moved", b"M\n\x1b[2"))
    assert caches["default"].get("key") is None
    (message,) = caplog.messages
    assert message.isprintable()


@pytest.mark.parametrize("read", [lambda cache: cache.get("key"), lambda cache: cache.get_many(["key"])])
def test_what_a_signal_handler_raises_in_the_midst_of_decoding_reaches_the_caller(caches, caplog, read):
    caches["default"].set("key", Picky())
    raising.append(OfTheSite("the time is up"))
    with pytest.raises(OfTheSite, match="the time is up"):
        read(caches["default"])
    assert caplog.messages == []
    assert read(caches["default"])
