"""Random lives in the ordinary test run; `make simulate SEEDS=N` lives more and longer ones."""

from __future__ import annotations

import pytest

from .life import live

SEEDS, CHUNK, DURATION = 200, 10, 6_000
SEEDS_WITH_TAILS = 60


def live_all(first: int, *, tails: bool) -> None:
    for seed in range(first, first + CHUNK):
        try:
            live(seed, DURATION, tails=tails)
        except BaseException as error:
            option = " --tails" if tails else ""
            error.add_note(
                f"replay: python -m tests.simulation --seed {seed} --duration {DURATION}{option} --trace"
            )
            raise


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_every_invariant_holds_in_random_lives(first):
    live_all(first, tails=False)


@pytest.mark.parametrize("first", range(0, SEEDS_WITH_TAILS, CHUNK))
def test_every_invariant_holds_where_some_messages_take_several_election_timeouts(first):
    live_all(first, tails=True)


def test_a_seed_replays_exactly():
    assert live(7, 5_000) == live(7, 5_000)
    assert live(7, 5_000, tails=True) == live(7, 5_000, tails=True)
