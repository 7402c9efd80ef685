"""A failing life shrinks to one that fails as well, and that somebody can read."""

from __future__ import annotations

import pytest

from .life import LifeEnded, live
from .shrink import failure_of, shrink
from .test_mutations import count_a_fresh_node


def test_a_failing_life_shrinks_to_a_shorter_one_that_fails(monkeypatch):
    count_a_fresh_node(monkeypatch)
    duration = 8_000
    failures = ((seed, failure_of(seed, duration, frozenset())) for seed in range(200))
    # One that the first strikes bring about has little to shrink.
    seed, whole = next((seed, found) for seed, found in failures if found is not None and found.strikes > 5)
    shrunk = shrink(seed, duration)
    assert shrunk.duration <= duration
    assert shrunk.strikes < whole.strikes
    with pytest.raises(LifeEnded):
        live(seed, shrunk.duration, without=shrunk.without)
    assert f"def test_seed_{seed}()" in shrunk.as_test()


def test_a_life_that_does_not_fail_is_not_shrunk():
    with pytest.raises(ValueError, match="does not fail"):
        shrink(3, 1_000)


def test_a_strike_is_the_same_whichever_others_are_left_out():
    first = live(5, 4_000, without=frozenset(range(1000)))
    second = live(5, 4_000, without=frozenset(range(2000)))
    assert first == second
