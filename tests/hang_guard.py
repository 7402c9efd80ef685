"""Ends a test run that hangs, and shows where.

pytest-timeout does so by SIGALRM, with a report: a test with a timer of its own takes the signal away, and a handler
may never be called. This is a thread of C that needs neither signals nor the interpreter. It stays on guard between the
tests and after the last one.
"""

from __future__ import annotations

import faulthandler
import os

import pytest
from _pytest.faulthandler import (
    fault_handler_stderr_fd_key,
)  # standard error as it is outside of pytest's capture

# How much longer than pytest-timeout it waits.
MARGIN_S = 30.0

_output = pytest.StashKey[int]()


def _watch(item: pytest.Item) -> None:
    stash = item.config.stash
    if _output not in stash:
        stash[_output] = os.dup(stash[fault_handler_stderr_fd_key])  # pytest closes its own at the end
    seconds = float(item.config.getini("timeout")) + MARGIN_S
    faulthandler.dump_traceback_later(seconds, exit=True, file=stash[_output])


# Anew for each: pytest takes it away where an exception was raised.
pytest_runtest_setup = pytest_runtest_call = pytest_runtest_teardown = pytest.hookimpl(tryfirst=True)(_watch)
