"""A cluster for scripts: a perfect network of 1 ms, no faults but the script's own, every invariant asserted."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from tests.consensus.stage import Stage
from tests.simulation.plan import Plan


@pytest.fixture
def stage() -> Callable[..., Stage]:
    def build(nodes: int = 3, *, seed: int = 1, running: bool = True, **changes) -> Stage:
        stage = Stage(Plan(nodes=nodes, **changes), Random(seed))
        if running:
            stage.start_all()
        return stage

    return build
