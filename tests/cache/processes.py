"""Forked children, in both ways in which a server may fork."""

from __future__ import annotations

import ctypes
import os
import traceback
from collections.abc import Callable

# As servers do that are no Python programs: none of Python's hooks are run.
FORKS: list[Callable[[], int]] = [os.fork, ctypes.CDLL(None).fork]


def in_child(work, fork=os.fork) -> int:
    """Run `work` in a forked child; its return value is the child's exit code, 99 for an exception."""
    child = fork()
    if child == 0:
        code = 99
        try:
            code = work()
        except Exception:  # noqa: BLE001 - shown, and told by the exit code
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
