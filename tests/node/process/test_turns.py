import logging

import pytest

from django_hacache.consensus.messages import Entry
from django_hacache.consensus.ready import Ready
from django_hacache.node.process.turns import LONG_S, NOTICED_S, Turns


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def turn():
    clock = Clock()
    turns = Turns(clock)

    def take(seconds, ready=None):
        turns.begin()
        clock.now += seconds
        turns.end(ready or Ready())
        clock.now += 5
        return turns.longest_ms

    return take


def test_a_turn_that_takes_long_is_told_of_once_with_what_was_in_it(turn, caplog):
    ready = Ready(entries=[Entry(1, 1, bytes(1000))], apply=[Entry(1, 1, bytes(1000))] * 2, compact_to=1)
    assert turn(LONG_S + 0.001, ready) == 201
    assert turn(2.5) == 2500
    assert turn(LONG_S + 0.001) == 2500  # the longest one is remembered
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    for told in (
        "a turn of 201 ms",
        "1 changes of 1064 bytes ordered",
        "2 of 2128 bytes applied",
        "the log cut",
    ):
        assert told in record.getMessage()


def test_an_ordinary_turn_is_not_told_of_whatever_passes_until_the_next_one(turn, caplog):
    caplog.set_level(logging.DEBUG, "django_hacache.node")
    for _ in range(3):
        assert turn(NOTICED_S / 2) == 0
    assert not caplog.records
    assert turn(NOTICED_S * 1.5) == 30
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]
