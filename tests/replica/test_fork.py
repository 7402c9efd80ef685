"""The ways round Python and py-lmdb that a forked child needs: each fails here where one of the two changes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import lmdb
import pytest

PROJECT = Path(__file__).parents[2]

LEAKED = """
import os, sys
from django_hacache.replica.fork import leak

class Closing:
    def __del__(self):
        os.write(1, b"closed")

kept = Closing()
if sys.argv[1] == "leaked":
    leak(kept)
"""


@pytest.mark.parametrize(("how", "said"), [("leaked", b""), ("kept", b"closed")])
def test_what_is_leaked_is_not_even_closed_by_the_exit_of_python_which_closes_what_a_module_keeps(how, said):
    ran = subprocess.run([sys.executable, "-c", LEAKED, how], check=True, cwd=PROJECT, capture_output=True)
    assert ran.stdout == said


OPENED_AGAIN = """
import os, sys
import lmdb
from django_hacache.replica.fork import inherited_environments_forgotten, leak

path = sys.argv[1]
inherited = lmdb.open(path, subdir=False)
child = os.fork()
if child == 0:
    leak(inherited)
    try:
        lmdb.open(path, subdir=False).close()
    except lmdb.Error as error:
        print("refused" if "already open in this process" in str(error) else error, flush=True)
    with inherited_environments_forgotten():
        own = lmdb.open(path, subdir=False)
    own.begin(write=True).commit()
    with inherited_environments_forgotten():
        try:
            lmdb.open(path, subdir=False)
        except lmdb.Error:
            print("one of its own", flush=True)
    sys.exit()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
inherited.begin(write=True).commit()
"""


def test_a_child_that_py_lmdb_refuses_what_its_parent_has_open_can_open_it_once(tmp_path):
    command = [sys.executable, "-c", OPENED_AGAIN, str(tmp_path / "replica.lmdb")]
    ran = subprocess.run(command, check=True, cwd=PROJECT, capture_output=True, text=True)
    refuses = int(lmdb.__version__.partition(".")[0]) >= 3
    assert ran.stdout.splitlines() == (["refused"] if refuses else []) + ["one of its own"]


OVERLAPPING = """
import os, sys, threading
import lmdb
from django_hacache.replica.fork import inherited_environments_forgotten

path = sys.argv[1]
child = os.fork()
if child == 0:
    entered, left = threading.Event(), threading.Event()

    def one():
        with inherited_environments_forgotten():
            entered.set()
            left.wait(20)

    thread = threading.Thread(target=one)
    thread.start()
    entered.wait(20)
    with inherited_environments_forgotten():
        left.set()
        thread.join()
        own = lmdb.open(path, subdir=False)
    other = lmdb.open(path + ".other", subdir=False)
    for name in (path, path + ".other"):
        try:
            with inherited_environments_forgotten() if name == path else threading.Lock():
                lmdb.open(name, subdir=False)
        except lmdb.Error:
            print("refused", flush=True)
    sys.exit()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_two_threads_of_a_child_that_open_at_once_leave_py_lmdb_as_watchful_as_it_was(tmp_path):
    command = [sys.executable, "-c", OVERLAPPING, str(tmp_path / "replica.lmdb")]
    ran = subprocess.run(command, check=True, cwd=PROJECT, capture_output=True, text=True)
    refuses = int(lmdb.__version__.partition(".")[0]) >= 3
    assert ran.stdout.splitlines() == (["refused", "refused"] if refuses else ran.stdout.splitlines())
