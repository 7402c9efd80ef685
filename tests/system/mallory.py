"""Another user of this host, for tests that run as root."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

MALLORY = 65534
NEEDS_MALLORY = [
    pytest.mark.skipif(
        os.geteuid() != 0 and not os.environ.get("HACACHE_REQUIRE_ALL_TESTS"),
        reason="only root can become another user",
    ),
    pytest.mark.skipif(sys.platform != "linux", reason="renameat2, /proc and mounts are Linux's"),
]


@contextmanager
def mallory(work: Callable[[], object]) -> Iterator[int]:
    """A process of another user that does `work`, and is killed at the end of the block."""
    pid = os.fork()
    if pid == 0:
        code = 1
        with suppress(BaseException):
            signal.alarm(60)  # whatever becomes of its parent
            os.setgroups([])
            os.setgid(MALLORY)
            os.setuid(MALLORY)
            work()
            code = 0
        os._exit(code)
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def as_mallory(work: Callable[[], object]) -> None:
    with mallory(work) as pid:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
