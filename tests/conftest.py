from __future__ import annotations

import gc
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from django_hacache.replica import leased_reader, replica
from django_hacache.replica.clock import boottime_ns
from tests.connections import connected
from tests.hang_guard import pytest_runtest_call, pytest_runtest_setup, pytest_runtest_teardown  # noqa: F401 - hooks
from tests.swallowed import swallowed

SetTimer = Callable[..., None]
Interrupted = Callable[[type[BaseException], Callable[[], object]], BaseException]

PATIENCE_S = 30

# No test asserts how long anything took.
hypothesis.settings.register_profile("patient", parent=hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("patient")


# Rooms of tests, and modules, that are not run under coverage: see the marker "untraced".
UNTRACED = {
    "cluster",
    "faults",
    "fuzz",
    "packaging",
    "simulation",
    "testproject",
    "test_deployed.py",
    "test_hacache_node.py",
    "test_interruptions.py",
    "test_preforking.py",
    "test_processes.py",
    "test_servers.py",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if UNTRACED.intersection(item.path.parts) or "interrupted" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.untraced)


@pytest.fixture
def timer() -> Iterator[SetTimer]:
    """Makes SIGALRM call a handler once, `after` so many seconds; 0 takes the timer back."""
    # pytest-timeout's own are put back at the end.
    before, left = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)

    def start(handler: Callable[..., object], *, after: float) -> None:
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, after)

    yield start
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    signal.setitimer(signal.ITIMER_REAL, *left)


@pytest.fixture
def dropped(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[BaseException | None]]:
    """The exceptions that Python itself has dropped: they came into a __del__, or into the garbage collector.

    Among them are the warnings of sockets that were interrupted before they were anybody's.
    """
    found: list[BaseException | None] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: found.append(lost.exc_value))
    yield found
    gc.collect()


@pytest.fixture
def interrupted(timer: SetTimer, dropped: list[BaseException | None]) -> Interrupted:
    """Calls a function until what a signal handler raises there has arrived, and returns that."""

    def call(kind: type[BaseException], function: Callable[[], object]) -> BaseException:
        raised: list[BaseException] = []

        def handler(*_: object) -> None:
            raised.append(kind("the caller's own"))
            raise raised[-1]

        def again() -> None:
            timer(handler, after=random.uniform(0.0001, 0.001))

        deadline = time.monotonic() + PATIENCE_S
        try:
            again()
            while time.monotonic() < deadline:
                function()
                if raised:
                    if raised[-1] not in dropped:
                        pytest.fail(swallowed(raised[-1]))
                    again()
        except kind as error:
            assert error is raised[-1]
            return error
        pytest.fail("the signal handler was not called")

    return call


@pytest.fixture
def connections() -> Callable[[], set[int]]:
    """Tells what connections to nodes this process has made since the test began."""
    before = connected()
    return lambda: connected() - before


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets so much time pass for the replicas of this process and those who read them under a lease."""
    ahead_ns = 0

    def pass_by(seconds: float = 1) -> None:
        nonlocal ahead_ns
        ahead_ns += int(seconds * 10**9)

    for module in (replica, leased_reader):
        monkeypatch.setattr(module, "boottime_ns", lambda: boottime_ns() + ahead_ns)
    return pass_by


@pytest.fixture
def small_tmpfs(tmp_path: Path) -> Iterator[Path]:
    """A directory on a tmpfs of 4 MB."""
    mount = tmp_path / "tmpfs"
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "t", mount], check=False, capture_output=True, text=True
    )
    if done.returncode:
        reason = f"a tmpfs cannot be mounted here: {done.stderr.strip()}"
        if os.environ.get("HACACHE_REQUIRE_ALL_TESTS"):
            pytest.fail(reason)
        pytest.skip(reason)
    yield mount / "location"
    subprocess.run(["umount", "-l", mount], check=True)
