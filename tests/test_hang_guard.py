"""What ends a test run that hangs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONFTEST = """
from tests import hang_guard
from tests.hang_guard import pytest_runtest_call, pytest_runtest_setup, pytest_runtest_teardown
hang_guard.MARGIN_S = 0.5
"""
IN_A_TEST = """
import signal
def test_that_takes_the_signal_away():
    signal.setitimer(signal.ITIMER_REAL, 0)
    waits_for_ever()
"""
AFTER_A_FAILURE = """
import pytest, signal
@pytest.fixture
def slow():
    yield
    waits_for_ever()
def test_that_fails(slow):
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert False
"""
AT_THE_END = """
import threading
def test_that_leaves_a_thread():
    threading.Thread(target=waits_for_ever).start()
"""
WAITS_FOR_EVER = """
def waits_for_ever():
    while True:
        pass
"""


@pytest.mark.parametrize("hangs", [IN_A_TEST, AFTER_A_FAILURE, AT_THE_END])
def test_a_run_that_hangs_ends_and_says_where(tmp_path, hangs):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(hangs + WAITS_FOR_EVER)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntimeout = 1\n")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:django", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert "in waits_for_ever" in ended.stderr
