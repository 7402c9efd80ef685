"""What repeats without end does not fill the log without end."""

from __future__ import annotations

import logging

import pytest

from django_hacache.node.log_throttle import AGAIN_S, REASONS_MAX, LogThrottle

LOGGER = logging.getLogger("django_hacache.test_complaints")


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def throttle(clock, caplog):
    caplog.set_level(logging.INFO, LOGGER.name)
    return LogThrottle(LOGGER, clock)


def test_a_reason_is_said_once(throttle, caplog):
    for _ in range(100):
        throttle.say("refused", "no way to b: refused")
    assert caplog.messages == ["no way to b: refused"]


def test_another_reason_is_said_at_once(throttle, caplog):
    for reason in ("refused", "refused", "silent", "silent"):
        throttle.say(reason, reason)
    assert caplog.messages == ["refused", "silent"]


def test_reasons_that_alternate_do_not_defeat_it(throttle, caplog):
    for _ in range(100):
        throttle.say("refused", "refused")
        throttle.say("silent", "silent")
    assert caplog.messages == ["refused", "silent"]


def test_after_ten_minutes_it_is_said_again_with_a_count(throttle, caplog, clock):
    for _ in range(8):
        throttle.say("stranger", "10.0.0.9 knocked")
    clock.now += AGAIN_S
    throttle.say("stranger", "10.0.0.7 knocked")
    throttle.say("stranger", "10.0.0.8 knocked")
    assert caplog.messages == ["10.0.0.9 knocked", "10.0.0.7 knocked (7 times more since it was last said)"]


def test_what_was_well_meanwhile_is_said_again(throttle, caplog):
    throttle.say("refused", "refused")
    throttle.settled()
    throttle.say("refused", "refused")
    assert caplog.messages == ["refused", "refused"]


def test_the_level_is_kept_and_repetitions_are_for_debugging(throttle, caplog):
    caplog.set_level(logging.DEBUG, LOGGER.name)
    throttle.say("silent", "silent", level=logging.INFO)
    throttle.say("silent", "silent", level=logging.INFO)
    assert [record.levelno for record in caplog.records] == [logging.INFO, logging.DEBUG]


def test_no_number_of_reasons_fills_memory_or_the_log(throttle, clock, caplog):
    for _ in range(3):
        caplog.clear()
        for number in range(10 * REASONS_MAX):
            throttle.say(str(number), f"whatever {number}")
        assert len(throttle._said) == REASONS_MAX
        assert len(caplog.messages) == REASONS_MAX + 1
        clock.now += AGAIN_S
    assert caplog.messages[-1].endswith(f"({9 * REASONS_MAX - 1} times more since it was last said)")


def test_what_is_said_already_keeps_its_place_among_many_others(throttle, clock, caplog):
    throttle.say("old", "old")
    for number in range(10 * REASONS_MAX):
        throttle.say(str(number), "others")
    throttle.say("old", "old")
    assert caplog.messages.count("old") == 1
    clock.now += AGAIN_S
    throttle.say("old", "old")
    throttle.say("new", "new")
    assert caplog.messages[-2:] == ["old (1 times more since it was last said)", "new"]


@pytest.mark.parametrize(
    "name", ["web1\nCRITICAL all is lost", "\x1b[2J\x1b]0;title\x07", "\r", "\u202eevil", "\x9b31m"]
)
def test_what_others_call_themselves_is_one_line_and_nothing_that_a_terminal_obeys(throttle, caplog, name):
    throttle.say("name", f"no stream to {name}: refused")
    assert all(message.isprintable() for message in caplog.messages)
    assert caplog.messages[0].endswith(": refused")
