"""Random lives in the ordinary test run; `make simulate SEEDS=N` lives more and longer ones."""

from __future__ import annotations

import pytest

from .life import live

SEEDS, CHUNK, DURATION = 200, 10, 6_000


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_every_invariant_holds_in_random_lives(first):
    for seed in range(first, first + CHUNK):
        try:
            live(seed, DURATION)
        except BaseException as error:
            error.add_note(f"replay: python -m tests.simulation --seed {seed} --duration {DURATION} --trace")
            raise


def test_a_seed_replays_exactly():
    assert live(7, 5_000) == live(7, 5_000)
