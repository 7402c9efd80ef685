"""What workers make of a node that is away, frozen or unable."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from contextlib import contextmanager

import pytest
from django.core.cache import caches

from django_hacache.exceptions import (
    CacheUnavailable,
    OutcomeUnknown,
)
from django_hacache.replica.clock import boottime_ns
from django_hacache.replica.control import START_NS, ControlPage
from django_hacache.replica.leased_reader import LeasedReader
from django_hacache.system.platform import ran_ns
from django_hacache.worker import sites
from tests.node_process import serves
from tests.waiting import eventually

HOUR_NS = 3600 * 10**9

DECISIONS = {
    "add": lambda cache: cache.add("key", 1),
    "incr": lambda cache: cache.incr("key"),
    "decr": lambda cache: cache.decr("key"),
    "incr_version": lambda cache: cache.incr_version("key"),
    "decr_version": lambda cache: cache.decr_version("key"),
}

EFFECTS = {
    "set": (lambda cache: cache.set("key", 1), None),
    "touch": (lambda cache: cache.touch("key"), False),
    "delete": (lambda cache: cache.delete("key"), False),
    "clear": (lambda cache: cache.clear(), None),
    "set_many": (lambda cache: cache.set_many({"a": 1, "b": 2}), ["a", "b"]),
    "delete_many": (lambda cache: cache.delete_many(["a", "b"]), None),
    "get_or_set": (lambda cache: cache.get_or_set("key", lambda: "made"), "made"),
}


@pytest.fixture
def no_node(small_node):
    small_node.kill()
    eventually(lambda: not serves(small_node.location))
    return small_node


def test_without_a_node_reads_are_misses(small_node, style):
    cache = style(caches["default"])
    cache.set("key", 1)
    assert cache.get("key") == 1
    small_node.kill()
    eventually(lambda: cache.get("key") is None)
    assert cache.get_many(["key"]) == {}
    assert not cache.has_key("key")


def test_without_a_node_writes_raise_a_connection_error(no_node, style):
    cache = style(caches["hasty"])
    for call in (*DECISIONS.values(), *(call for call, _ in EFFECTS.values())):
        with pytest.raises(ConnectionError):
            call(cache)


def test_ignored_failures_do_nothing_and_are_logged(no_node, style, caplog):
    cache = style(caches["ignoring"])
    for operation, (call, nothing) in EFFECTS.items():
        caplog.clear()
        with caplog.at_level(logging.ERROR, "django_hacache.cache"):
            assert call(cache) == nothing
        assert operation in caplog.text
        assert "ignoring" in caplog.text


def test_failures_are_ignored_without_a_log_where_that_is_asked_for(no_node, style, caplog):
    assert style(caches["silent"]).delete("key") is False
    assert caplog.text == ""


def test_decisions_are_never_ignored(no_node, style):
    for call in DECISIONS.values():
        with pytest.raises(CacheUnavailable):
            call(style(caches["ignoring"]))


@pytest.mark.filterwarnings("ignore::django.core.cache.backends.base.CacheKeyWarning")
def test_a_move_that_fails_halfway_leaves_the_outcome_unknown(small_node, style):
    cache = style(caches["default"])
    cache.set("no quorum", 1, version=2)
    with pytest.raises(OutcomeUnknown, match="may not be stored again"):
        cache.decr_version("no quorum", version=2)


def test_after_one_failure_writes_fail_at_once_until_the_node_is_back(no_node, style):
    cache = style(caches["hasty"])
    with pytest.raises(CacheUnavailable):
        cache.set("key", 1)
    # What fails at once says so, and so do other aliases of the same node.
    for alias in ("hasty", "default"):
        with pytest.raises(CacheUnavailable, match="not tried again"):
            style(caches[alias]).set("key", 1)
    no_node.start()
    cache.set("key", 2)
    eventually(lambda: cache.get("key") == 2)


def test_nobody_waits_for_a_node_that_is_known_to_be_gone(no_node, style):
    cache = style(caches["patient"])
    with pytest.raises(CacheUnavailable, match="could not be reached") as failure:
        cache.set("key", 1)
    assert type(failure.value) is CacheUnavailable  # it did not happen


def test_nobody_waits_for_the_answer_of_a_node_that_is_known_to_be_gone(small_node, style):
    cache = style(caches["patient"])
    cache.set("key", 1)
    os.kill(small_node.process.pid, signal.SIGSTOP)
    killing = threading.Timer(0.05, small_node.kill)
    killing.start()
    with pytest.raises(OutcomeUnknown):
        cache.set("key", 2)
    killing.join()


@pytest.fixture
def never_a_node(small_node):
    small_node.kill()
    (small_node.location / "control").unlink()
    return small_node


def test_nobody_waits_for_a_node_that_never_was(never_a_node, style, monkeypatch):
    monkeypatch.setattr(sites, "process_age_ns", lambda: START_NS + 1)
    with pytest.raises(CacheUnavailable, match="could not be reached"):
        style(caches["patient"]).set("key", 1)


def test_a_process_that_has_just_begun_waits_for_the_node_that_may_have_begun_with_it(
    never_a_node, style, monkeypatch
):
    monkeypatch.setattr(sites, "process_age_ns", lambda: START_NS)
    starting = threading.Timer(0.05, never_a_node.start)
    starting.start()
    style(caches["patient"]).set("key", 1)
    starting.join()


def test_a_page_that_was_not_looked_at_yet_says_nothing(small_node, style, monkeypatch):
    cache = style(caches["patient"])
    small_node.kill()
    monkeypatch.setattr(sites, "process_age_ns", lambda: START_NS + 1)
    monkeypatch.setattr(LeasedReader, "control", None)
    starting = threading.Timer(0.05, small_node.start)
    starting.start()
    cache.set("key", 1)
    starting.join()


def test_a_node_that_was_stopped_is_waited_for_while_it_is_expected_back(small_node, style):
    cache = style(caches["patient"])
    small_node.kill()
    ControlPage.create(small_node.location).note_stopped(HOUR_NS)
    starting = threading.Timer(0.05, small_node.start)
    starting.start()
    cache.set("key", 1)
    starting.join()


def test_a_failure_before_the_node_was_well_does_not_make_the_first_write_after_it_fail(no_node, style):
    cache = style(caches["patient"])
    with pytest.raises(CacheUnavailable):
        cache.set("key", 1)
    no_node.start()
    eventually(lambda: ControlPage.open(no_node.location).writable())
    # Nobody has written meanwhile.
    no_node.kill()
    ControlPage.create(no_node.location).note_stopped(HOUR_NS)
    starting = threading.Timer(0.05, no_node.start)
    starting.start()
    cache.set("key", 2)
    starting.join()


def test_nobody_waits_longer_than_a_stopped_node_is_expected_back(small_node, style):
    cache = style(caches["patient"])
    small_node.kill()
    ControlPage.create(small_node.location).note_stopped(50_000_000)
    with pytest.raises(CacheUnavailable, match="could not be reached"):
        cache.set("key", 1)


@pytest.mark.parametrize("hung_for", [0.0, 1.0], ids=["now", "a second ago"])
def test_nobody_waits_for_write_timeout_where_the_node_hangs(small_node, style, hung_for):
    cache = style(caches["patient"])
    cache.set("key", 1)
    os.kill(small_node.process.pid, signal.SIGSTOP)
    page = ControlPage.open(small_node.location)
    eventually(lambda: boottime_ns() - page.alive_at_ns >= hung_for * 1e9)
    with pytest.raises(OutcomeUnknown, match="it hangs"):
        cache.set("key", 2)
    with pytest.raises(CacheUnavailable, match="not tried again"):
        cache.set("key", 3)
    os.kill(small_node.process.pid, signal.SIGCONT)
    eventually(lambda: serves(small_node.location))
    cache.set("key", 4)
    assert cache.get("key") == 4


@contextmanager
def a_tenth_of_a_processor(process):
    """As a quota gives it to a container: it runs for a moment, and then not for nine."""
    ended = threading.Event()

    def alternate():
        while not ended.wait(0.02):
            os.kill(process.pid, signal.SIGSTOP)
            ended.wait(0.18)
            os.kill(process.pid, signal.SIGCONT)

    thread = threading.Thread(target=alternate)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.skipif(ran_ns(os.getpid()) == 0, reason="this kernel does not tell what a process has run")
def test_a_node_that_may_have_a_tenth_of_a_processor_takes_its_time_and_is_not_hung(small_node, style):
    cache = style(caches["patient"])
    cache.set("key", 1)
    with a_tenth_of_a_processor(small_node.process):
        cache.set("much-work", 2)
    # Meanwhile its lease may have run out.
    eventually(lambda: cache.get("much-work") == 2)


def test_a_value_that_the_socket_of_a_hanging_node_does_not_take_is_certainly_not_stored(small_node, style):
    cache = style(caches["patient"])
    cache.set("key", 1)
    os.kill(small_node.process.pid, signal.SIGSTOP)
    with pytest.raises(CacheUnavailable, match="it hangs") as failure:
        cache.set("key", bytes(4_000_000))
    assert not isinstance(failure.value, OutcomeUnknown)
    os.kill(small_node.process.pid, signal.SIGCONT)
    eventually(lambda: serves(small_node.location))
    assert cache.get("key") == 1


def test_whoever_waits_behind_a_large_value_waits_no_longer_than_it_where_the_node_hangs(small_node):
    cache = caches["patient"]

    async def scenario():
        await cache.aset("key", 1)
        os.kill(small_node.process.pid, signal.SIGSTOP)
        large, small = cache.aset("large", bytes(4_000_000)), cache.aset("key", 2)
        for failure in await asyncio.gather(large, small, return_exceptions=True):
            assert isinstance(failure, CacheUnavailable)
            assert "it hangs" in str(failure)
        os.kill(small_node.process.pid, signal.SIGCONT)

    asyncio.run(scenario())


def test_a_restarted_node_is_used_without_an_error(small_node, style):
    cache = style(caches["default"])
    cache.set("key", 1)
    small_node.kill()
    eventually(lambda: not serves(small_node.location))
    small_node.start()
    cache.set("key", 2)
    eventually(lambda: cache.get("key") == 2)


def test_a_frozen_node_leaves_the_outcome_unknown(small_node, style):
    cache = style(caches["hasty"])
    cache.set("key", 1)
    os.kill(small_node.process.pid, signal.SIGSTOP)
    with pytest.raises(OutcomeUnknown):
        cache.set("key", 2)
    eventually(lambda: cache.get("key") is None)
    os.kill(small_node.process.pid, signal.SIGCONT)
    eventually(lambda: cache.get("key") == 2)


class TimeLimit(BaseException):
    """As gevent.Timeout is one."""


def test_a_caller_that_gives_up_sooner_than_write_timeout_makes_the_next_ones_fail_at_once(small_node, timer):
    cache = caches["default"]
    cache.set("key", 1)

    def handler(*_):
        raise TimeLimit

    os.kill(small_node.process.pid, signal.SIGSTOP)
    eventually(lambda: not serves(small_node.location))
    timer(handler, after=0.05)
    with pytest.raises(TimeLimit):
        cache.set("key", 2)
    with pytest.raises(CacheUnavailable, match="not tried again"):
        cache.set("key", 3)
    os.kill(small_node.process.pid, signal.SIGCONT)
    eventually(lambda: serves(small_node.location))
    cache.set("key", 4)


def test_a_task_that_is_cancelled_makes_the_next_writes_fail_at_once_where_the_node_cannot_write(small_node):
    cache = caches["default"]

    async def scenario():
        await cache.aset("key", 1)
        os.kill(small_node.process.pid, signal.SIGSTOP)
        eventually(lambda: not serves(small_node.location))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await cache.aset("key", 2)
        with pytest.raises(CacheUnavailable, match="not tried again"):
            await cache.aset("key", 3)
        os.kill(small_node.process.pid, signal.SIGCONT)
        eventually(lambda: serves(small_node.location))
        await cache.aset("key", 4)

    asyncio.run(scenario())
