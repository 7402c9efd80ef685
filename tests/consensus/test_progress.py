"""How large an Append to a peer is: as large as the link to it takes within a fraction of a second."""

from __future__ import annotations

import pytest

from django_hacache.consensus.leader.progress import Progress
from django_hacache.consensus.window import Window

LEAST, MOST, LONG = 100, 1000, 400


@pytest.fixture
def progress():
    return Progress("incarnation", met_before=1, next_index=1, window=Window(LEAST, MOST, LONG))


def answered(progress, size, after):
    progress.in_flight, progress.sent_at_ms, progress.sent_bytes = 7, 0, size
    progress.append_answered(after)
    assert progress.in_flight is None
    return progress.window.size


def test_appends_that_are_answered_soon_grow_to_the_limit(progress):
    assert [answered(progress, progress.window.size, 10) for _ in range(5)] == [200, 400, 800, 1000, 1000]


def test_a_small_append_that_is_answered_soon_says_nothing_of_a_large_one(progress):
    assert answered(progress, LEAST // 2 - 1, 10) == LEAST


def test_appends_that_take_long_become_smaller(progress):
    for _ in range(4):
        answered(progress, progress.window.size, 10)
    assert [answered(progress, MOST, 11 + LONG) for _ in range(4)] == [500, 250, 125, LEAST]


def test_how_far_away_a_peer_is_makes_no_append_smaller(progress):
    assert [answered(progress, progress.window.size, 2000) for _ in range(3)] == [200, 400, 800]


def test_the_answer_to_one_that_was_sent_twice_does_not_tell_how_quick_either_was(progress):
    assert answered(progress, None, 10) == LEAST
    assert answered(progress, None, 5000) == LEAST


def test_a_new_connection_is_not_taken_for_as_quick_as_the_one_before(progress):
    answered(progress, LEAST, 10)
    progress.connection_lost()
    assert progress.window.size == LEAST
