from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest

from tests.hang_guard import pytest_runtest_call, pytest_runtest_setup, pytest_runtest_teardown  # noqa: F401 - hooks

SetTimer = Callable[..., None]


@pytest.fixture
def timer() -> Iterator[SetTimer]:
    """Makes SIGALRM call a handler once `after` some seconds, or again and again, `every` so many."""
    # pytest-timeout's own are put back at the end.
    before, left = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)

    def start(handler: Callable[..., object], *, after: float = 0, every: float = 0) -> None:
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, after or every, every)

    yield start
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    signal.setitimer(signal.ITIMER_REAL, *left)
