"""Exceptions that arrive in the middle of a call, as time limits, Ctrl-C and signal handlers bring them."""

from __future__ import annotations

import asyncio
import gc
import inspect
import signal
import sys
import threading

import lmdb
import pytest

from django_hacache.exceptions import OutcomeUnknown, ReplicaError
from django_hacache.replica.opening import Membership
from django_hacache.system.safe_path import real
from django_hacache.worker.sites import ClusterSite, StandaloneSite
from tests.cache.raw import setup_of
from tests.swallowed import swallowed
from tests.waiting import eventually

ROUNDS = 150
# Signal handlers that interrupt each other.
NESTED_MAX = 3
INSTANTS_MAX = 5000


class TimeLimit(Exception):
    pass


class Disguised(TimeoutError):
    """As OSErrors are, with which a connection or a file system could have failed."""


def others_can_write(cache) -> bool:
    thread = threading.Thread(target=lambda: cache.set("other", 1))
    thread.start()
    thread.join(5)
    return not thread.is_alive()


@pytest.mark.parametrize("kind", [TimeLimit, Disguised, KeyboardInterrupt])
def test_an_exception_that_comes_anywhere_in_a_write_arrives_and_leaves_nothing_open(
    caches, interrupted, kind
):
    cache = caches["default"]

    def use():
        cache.set("key", "value" * 20)
        cache.get("key")

    for _ in range(ROUNDS):
        error = interrupted(kind, use)  # its traceback holds whatever was open
        cache.delete("lock")
        assert others_can_write(cache)
        del error


def test_what_an_interrupted_write_does_happens_once_or_not_at_all(caches, interrupted):
    cache = caches["default"]
    cache.set("key", 0)
    done = 0

    def increment():
        nonlocal done
        cache.incr("key")
        done += 1

    for _ in range(ROUNDS):
        interrupted(Disguised, increment)
    assert done <= cache.incr("key", 0) <= done + ROUNDS


PROFILED = ("django_hacache.", "pathlib", "contextlib")


def reaches(instant, error, function) -> bool:
    """Whether `function` has so many instants at which Python calls signal handlers; one raises `error` there.

    They are the beginning of each function and the return from each call of C. None is of a collection of garbage: what
    an earlier exception left half done is closed there, and what is raised in that is Python's to drop.
    """

    def handler(*_):
        raise error

    def profile(frame, event, _):
        nonlocal instant
        if event not in {"call", "c_return"} or not frame.f_globals["__name__"].startswith(PROFILED):
            return
        instant -= 1
        if instant == 0:
            sys.setprofile(None)
            signal.raise_signal(signal.SIGUSR1)

    profiled, handled = sys.getprofile(), signal.signal(signal.SIGUSR1, handler)
    gc.disable()
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(profiled)
        gc.enable()
        signal.signal(signal.SIGUSR1, handled)
    return instant <= 0


def everything_is_looked_at_again(site):
    """As once a second, and in a cluster whenever a lease was lost."""
    if isinstance(site, StandaloneSite):
        site.reader._next_maintenance = 0
    else:
        site.reader._verified, site.reader._next_check = -1, 0
        site.breaker._is_open = True


def everything_is_opened_again(site):
    if isinstance(site, ClusterSite):
        for client in site._client_of_loop.values():
            client.close()
    site.close()


def used_by(cache, runner, dropped):
    """Reads and writes, plainly or in a coroutine."""

    def use():
        cache.get("key")
        cache.incr("key")

    async def use_in_a_loop():
        # An event loop drops what comes just before it runs a callback, and says so.
        told = asyncio.get_running_loop().set_exception_handler
        told(lambda _, context: dropped.append(context["exception"]))
        await cache.aget("key")
        await cache.aincr("key")

    return use if runner is None else lambda: runner.run(use_in_a_loop())


@pytest.fixture(params=["sync", "async"])
def runner(request, dropped):
    if request.param == "sync":
        yield None
        return
    with asyncio.Runner() as made:
        yield made


@pytest.mark.parametrize(
    "kind", [Disguised, KeyError, IndexError, ReplicaError, OutcomeUnknown, lmdb.BadDbiError, ValueError]
)
@pytest.mark.parametrize("before", [everything_is_looked_at_again, everything_is_opened_again])
def test_an_exception_at_any_instant_of_a_call_arrives(caches, runner, dropped, kind, before):
    """Where the package looks at a file, an OSError may be the file's or the caller's."""
    cache = caches["default"]
    use = used_by(cache, runner, dropped)
    cache.set("key", 1)

    for instant in range(1, INSTANTS_MAX):
        before(setup_of("default").site)
        error = kind("the caller's own")
        try:
            if not reaches(instant, error, use):
                break
        except kind as arrived:
            assert arrived is error
        else:
            if error not in dropped:
                pytest.fail(swallowed(error))
    assert 100 < instant < INSTANTS_MAX - 1


@pytest.mark.parametrize("kind", [ReplicaError, OutcomeUnknown])
def test_what_a_cache_ignores_is_its_own_and_not_what_a_handler_met_in_another_one(caches, kind):
    cache = caches["ignoring"]

    def use():
        cache.get("key")
        cache.set("key", 1)

    use()  # its settings are read, which takes far more instants than all that follows
    for instant in range(1, INSTANTS_MAX):
        error = kind("the handler's")
        try:
            if not reaches(instant, error, use):
                break
        except kind as arrived:
            assert arrived is error
        else:
            pytest.fail(swallowed(error))
    assert 10 < instant < INSTANTS_MAX - 1


def test_an_exception_that_comes_while_links_are_followed_arrives(tmp_path):
    (tmp_path / "link").symlink_to("real")

    for instant in range(1, INSTANTS_MAX):
        error = Disguised("the caller's own")
        try:
            if not reaches(instant, error, lambda: real(tmp_path / "link" / "location")):
                break
        except Disguised as arrived:
            assert arrived is error
        else:
            pytest.fail(swallowed(error))
    assert 10 < instant < INSTANTS_MAX - 1


def test_nothing_of_this_package_runs_python_where_an_object_is_dropped():
    """An exception that a signal handler raises there has nowhere to go: Python prints it, and that is all."""
    found = [
        one
        for name in list(sys.modules)
        if name.startswith("django_hacache.")
        for one in vars(sys.modules[name]).values()
        if inspect.isclass(one) and one.__module__ == name
    ]
    assert Membership in found
    assert not [one for one in found if inspect.isfunction(getattr(one, "__del__", None))]


def test_a_signal_handler_and_what_it_interrupts_each_get_their_own_answers(served, caches, timer):
    """On one machine a handler in the middle of a write is refused: there is one write at a time."""
    cache = caches["default"]
    cache.set("handler", 0)
    answers, refused, running = [], [], []

    def interrupt_soon():
        # Each sets the timer for the next: one that repeats leaves no time between them where the machine is slow.
        if len(running) < NESTED_MAX:
            timer(handler, after=0.0007)

    def handler(*_):
        running.append(True)
        interrupt_soon()
        try:
            answers.append(cache.incr("handler"))
        except ReplicaError as error:
            refused.append(str(error))
        running.pop()

    number = 0

    def enough():
        nonlocal number
        interrupt_soon()
        cache.set("key", number)
        assert cache.incr("key") == number + 1
        number += 1
        return len(answers) + len(refused) >= ROUNDS

    eventually(enough, 30)
    timer(lambda *_: None, after=0)
    assert sorted(answers) == list(range(1, len(answers) + 1))
    assert answers
    assert all("signal handler" in message for message in refused)
    if served.hacache["HA_MODE"] == "true":
        assert not refused
