"""Stored bytes that are no value: a miss, a line in the log, and never an exception in a page."""

from __future__ import annotations

import importlib
import logging
import pickle
import sys
import zlib

import pytest

from django_hacache.system.platform import monotonic
from django_hacache.values.serializers import marked_foreign
from django_hacache.worker import unreadable
from tests.cache.raw import store

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
    def __init__(self, how):
        self.how = how

    def __reduce__(self):
        return _break, (self.how,)


class Panic(BaseException):
    """What a library in Rust raises: no Exception."""


class Unspeakable(Exception):
    def __str__(self):
        raise OfTheSite("it has no words")


def _break(how):
    match how:
        case "recursion":
            _break(how)
        case "memory":
            raise MemoryError
        case "zlib":
            zlib.decompress(b"no zlib")
        case "panic":
            raise Panic("index out of bounds")
        case "exit":
            sys.exit("this module wants another one")
        case "unspeakable":
            raise Unspeakable
        case _:
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
    "length that is a lie": b"\x80\x05\x8e" + (1 << 62).to_bytes(8, "little") + b"text.",
    "size that is a lie": b"\x80\x05\x96" + (1 << 60).to_bytes(8, "little") + b"text.",
    "protocol of the future": b"\x80\x7f.",
    **{
        how: pickle.dumps(Broken(how), pickle.HIGHEST_PROTOCOL)
        for how in ("of its own kind", "recursion", "memory", "zlib", "panic", "exit", "unspeakable")
    },
}


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch):
    monkeypatch.setattr(unreadable, "_logged_at", {})
    exploded.clear()
    raising.clear()


@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_value_is_a_miss_until_it_is_replaced(caches, style, data):
    store("default", "key", data)
    cache = style(caches["default"])
    cache.set("other", 1)
    assert cache.get("key", "default") == "default"
    assert cache.get_many(["key", "other"]) == {"other": 1}
    with pytest.raises(ValueError, match="'key' not found"):
        cache.incr("key")
    cache.set("key", 3)
    assert cache.get("key") == 3
    assert exploded == []


@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE)
def test_get_or_set_replaces_it_so_that_its_default_is_made_once(caches, style, data):
    store("default", "key", data)
    cache = style(caches["default"])
    assert cache.get_or_set("key", lambda: 2, 50) == 2
    assert cache.get_or_set("key", lambda: pytest.fail("it is there")) == 2


def test_who_adds_finds_the_key_taken(caches, style):
    """What another release stored there may be a lock, which only that release can read."""
    store("default", "lock", gone_class())
    assert not style(caches["default"]).add("lock", 1)


def test_has_key_finds_the_entry_and_opens_nothing(caches, style):
    store("default", "key", pickle.dumps(Bomb(), pickle.HIGHEST_PROTOCOL))
    assert style(caches["default"]).has_key("key")
    assert exploded == []


def test_it_is_logged_once_for_each_alias_and_kind(caches, caplog):
    with caplog.at_level(logging.WARNING, "django_hacache.cache"):
        for alias in ("default", "prefixed"):
            for key in ("a", "b"):
                store(alias, key, UNREADABLE["foreign text"])
                store(alias, f"{key}-gone", UNREADABLE["class that is gone"])
            for key in ("a", "b", "a-gone", "b-gone", "a"):
                assert caches[alias].get(key) is None
    assert len(caplog.messages) == 4
    for alias in ("default", "prefixed"):
        about = [message for message in caplog.messages if f"cache {alias!r}" in message]
        assert ["outside the site" in message for message in about] == [True, False]
        assert ["Moved" in message for message in about] == [False, True]


def test_it_is_logged_again_after_an_hour(caches, caplog, monkeypatch):
    now = monotonic()
    monkeypatch.setattr(unreadable, "monotonic", lambda: now)
    store("default", "key", gone_class())
    for said in (1, 2):
        for _ in range(3):
            assert caches["default"].get("key") is None
        assert len(caplog.messages) == said
        now += unreadable.INTERVAL_S + 1


def test_kinds_that_are_long_over_make_room_for_others(caches, caplog, monkeypatch):
    now = monotonic()
    monkeypatch.setattr(unreadable, "monotonic", lambda: now)
    monkeypatch.setattr(unreadable, "KINDS_MAX", 1)
    store("default", "gone", gone_class())
    store("default", "foreign", UNREADABLE["foreign text"])
    caches["default"].get_many(["gone"])
    caches["default"].get_many(["foreign"])
    assert len(caplog.messages) == 1
    now += unreadable.INTERVAL_S + 1
    caches["default"].get_many(["foreign"])
    assert "outside the site" in caplog.messages[1]


def test_there_is_an_end_of_kinds(caches, caplog):
    with caplog.at_level(logging.WARNING, "django_hacache.cache"):
        for number in range(2 * unreadable.KINDS_MAX):
            store("default", "key", gone_class().replace(b"Moved", b"M%04d" % number))
            assert caches["default"].get("key") is None
    assert len(caplog.messages) == unreadable.KINDS_MAX


def test_a_line_of_the_log_stays_one_line(caches, caplog):
    store("default", "key", gone_class().replace(b"Moved", b"M\n\x1b[2"))
    assert caches["default"].get("key") is None
    (message,) = caplog.messages
    assert message.isprintable()


READS = [lambda cache: cache.get("key"), lambda cache: cache.get_many(["key"])]
each_read = pytest.mark.parametrize("read", READS, ids=["get", "get_many"])


@each_read
@pytest.mark.parametrize(
    "error", [OfTheSite("the time is up"), Panic("the time is up"), SystemExit("the time is up")]
)
def test_what_a_signal_handler_raises_in_the_midst_of_decoding_reaches_the_caller(
    caches, caplog, read, error
):
    caches["default"].set("key", Picky())
    raising.append(error)
    with pytest.raises(type(error), match="the time is up"):
        read(caches["default"])
    assert caplog.messages == []
    assert read(caches["default"])


@pytest.mark.parametrize("error", [TimeoutError("the time is up"), Panic("the time is up")])
def test_what_is_raised_while_a_value_that_fails_is_tried_again_reaches_the_caller(caches, error):
    caches["default"].set("key", Picky())
    raising[:] = [OfTheSite(), error, OfTheSite()]
    with pytest.raises(type(error), match="the time is up"):
        caches["default"].get("key")


@each_read
def test_ctrl_c_reaches_the_caller_however_often_it_is_pressed(caches, read):
    caches["default"].set("key", Picky())
    pressed, other = KeyboardInterrupt(), OfTheSite("the value's own")
    for last_first in ([pressed], [pressed, pressed], [other, pressed], [pressed, other]):
        raising[:] = last_first
        with pytest.raises(KeyboardInterrupt):
            read(caches["default"])


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Makes a pickle of a class whose module is imported again when it is read, and does what `source` says first."""
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "of_the_site.py"

    def pickled(source):
        path.write_text("class Thing: pass\n")
        imported = importlib.import_module("of_the_site")
        data = pickle.dumps(imported.Thing(), pickle.HIGHEST_PROTOCOL)
        path.write_text(f"import sys\n{source}\nclass Thing: pass\n")
        importlib.invalidate_caches()
        del sys.modules["of_the_site"]
        return data

    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield pickled
    sys.modules.pop("of_the_site", None)
    sys.__dict__.pop("tries", None)


@each_read
def test_a_module_that_fails_in_another_way_each_time_is_a_miss(caches, caplog, module, read):
    """As one does that has registered something before it failed."""
    store(
        "default",
        "key",
        module(
            "sys.tries = getattr(sys, 'tries', 0) + 1\n"
            "raise [KeyError, ValueError, OSError, LookupError, RuntimeError][sys.tries % 5]"
        ),
    )
    assert not read(caches["default"])
    assert len(caplog.messages) == 1


@each_read
def test_a_module_that_another_thread_is_importing_is_tried_again(caches, caplog, module, read):
    store(
        "default",
        "key",
        module(
            "sys.tries = getattr(sys, 'tries', 0) + 1\nif sys.tries == 1: raise ImportError('partially initialized')"
        ),
    )
    assert read(caches["default"])
    assert caplog.messages == []


def test_what_a_signal_handler_raises_while_an_exception_is_put_into_words_is_the_callers():
    class Interrupted(Exception):
        calls = 0

        def __str__(self):
            type(self).calls += 1
            if self.calls == 1:
                raise OfTheSite("a time limit")
            return "words"

    with pytest.raises(OfTheSite, match="a time limit"):
        unreadable.log_unreadable("default", "key", Interrupted())
    unreadable.log_unreadable("default", "key", Unspeakable())
