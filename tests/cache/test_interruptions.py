"""Exceptions that arrive in the middle of a call, as time limits, Ctrl-C and signal handlers bring them."""

from __future__ import annotations

import random
import threading

import pytest

from django_hacache.exceptions import ReplicaError

ROUNDS = 150

# A socket that was made and is nobody's yet is closed with a warning.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


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
def test_an_exception_that_comes_anywhere_in_a_write_arrives_and_leaves_nothing_open(caches, timer, kind):
    cache = caches["default"]
    limits = []

    def handler(*_):
        limits.append(kind("the caller's own"))
        raise limits[-1]

    for _ in range(ROUNDS):
        try:
            timer(handler, after=random.uniform(0.0001, 0.001))
            while True:
                cache.set("key", "value" * 20)
                cache.get("key")
        except kind as error:  # its traceback still holds whatever was open
            assert error is limits[-1]
            cache.delete("lock")
            assert others_can_write(cache)
    assert len(limits) == ROUNDS


def test_what_an_interrupted_write_does_happens_once_or_not_at_all(caches, timer):
    cache = caches["default"]
    cache.set("key", 0)
    done = interrupted = 0

    def handler(*_):
        raise Disguised

    while interrupted < ROUNDS:
        try:
            timer(handler, after=random.uniform(0.0001, 0.001))
            while True:
                cache.incr("key")
                done += 1
        except Disguised:
            interrupted += 1
    assert done <= cache.incr("key", 0) <= done + interrupted


def test_a_signal_handler_and_what_it_interrupts_each_get_their_own_answers(served, caches, timer):
    """On one machine a handler in the middle of a write is refused: there is one write at a time."""
    cache = caches["default"]
    cache.set("handler", 0)
    answers, refused = [], []

    def handler(*_):
        try:
            answers.append(cache.incr("handler"))
        except ReplicaError as error:
            refused.append(str(error))

    timer(handler, every=0.0007)
    number = 0
    while len(answers) + len(refused) < ROUNDS:
        cache.set("key", number)
        assert cache.incr("key") == number + 1
        number += 1
    timer(lambda *_: None)
    # A handler may be interrupted by the next one.
    assert sorted(answers) == list(range(1, len(answers) + 1))
    assert answers
    assert all("signal handler" in message for message in refused)
    if served.hacache["HA_MODE"] == "true":
        assert not refused
