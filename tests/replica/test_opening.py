"""Who may open a replica, and what is left of that in children and in other containers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from django_hacache.exceptions import ConfigurationError
from django_hacache.replica import node_lock, opening, registry
from django_hacache.replica.clock import boottime_ns
from django_hacache.replica.control import ControlPage
from django_hacache.replica.leased_reader import LeasedReader
from django_hacache.replica.opening import Membership
from django_hacache.replica.replica import Replica
from django_hacache.system.directory import open_private
from tests.replica.writing import MAP_SIZE, put

LONG_S = 20


def fork(work) -> int:
    """Fork a child that does `work`, and is killed where that takes too long."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LONG_S)
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_child_that_is_forked_while_another_thread_opens_inherits_no_lock(directory):
    directory.mkdir(mode=0o700)

    def open_and_put():
        put(Replica.open(directory, writable=True, map_size=MAP_SIZE), "k")

    with open_private(directory) as opened:
        membership = Membership(opened)
    with membership.opening():
        child = fork(open_and_put)
    assert exit_code(child) == 0
    replica = Replica.open(directory, writable=True, map_size=MAP_SIZE)
    assert replica.get("default", "k") == b"value"
    replica.close()


JOINS = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 1)
"""


def has_members(directory) -> bool:
    command = [sys.executable, "-c", JOINS, directory / opening.NAME]
    return subprocess.run(command, check=False, capture_output=True).returncode != 0


@pytest.mark.parametrize("ends", ["dropped", "closed"])
def test_a_thread_that_opens_what_another_one_is_about_to_close_waits_for_that(directory, monkeypatch, ends):
    """And is a member after it, although closing a file ends all locks that the process has on it."""
    first = [Replica.open(directory, writable=True, map_size=MAP_SIZE)]
    put(first[0], "k")
    waits, second, sleep = threading.Event(), [], time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: (waits.set(), sleep(seconds)))
    monkeypatch.setattr(registry, "CLOSING_WAIT_S", LONG_S)
    thread = threading.Thread(
        target=lambda: second.append(Replica.open(directory, writable=True, map_size=MAP_SIZE))
    )
    thread.start()
    assert waits.wait(LONG_S)
    replica = first.pop()
    if ends == "closed":
        replica.close()
    del replica
    thread.join(LONG_S)
    assert second[0].get("default", "k") == b"value"
    assert has_members(directory)
    second[0].close()
    assert not has_members(directory)


def test_a_child_that_is_forked_while_somebody_looks_for_a_node_keeps_none_from_starting(
    tmp_path, monkeypatch
):
    with node_lock.occupying(tmp_path):
        pass
    reading, writing = os.pipe()
    lock, children = node_lock._lock, []

    def until_the_parent_goes_on():
        os.close(writing)
        os.read(reading, 1)

    def fork_with_the_lock(*arguments, **options):
        lock(*arguments, **options)
        children.append(fork(until_the_parent_goes_on))

    monkeypatch.setattr(node_lock, "_lock", fork_with_the_lock)
    node_lock.ensure_unoccupied(tmp_path)
    monkeypatch.undo()
    with node_lock.occupying(tmp_path):
        pass
    os.close(writing)
    assert exit_code(children[0]) == 0
    os.close(reading)


CONTAINER = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


@pytest.fixture
def container(directory):
    """Starts a Python process with process id 1 that says how it goes with the replica in `directory`."""
    try:
        subprocess.run([*CONTAINER, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = f"there can be no other PID namespace here: {error}"
        if os.environ.get("HACACHE_REQUIRE_ALL_TESTS"):
            pytest.fail(reason)
        pytest.skip(reason)
    started = []
    prologue = f"""
import os, sys
from pathlib import Path
from django_hacache.replica import opening
from django_hacache.replica.leased_reader import LeasedReader
from django_hacache.replica.replica import Replica
directory = Path({str(directory)!r})
assert os.getpid() == 1
def attempt(work):
    try:
        print(work(), flush=True)
    except Exception as error:
        print(type(error).__name__, error, flush=True)
def opened(writable=True):
    return Replica.open(directory, writable=writable, map_size={MAP_SIZE})
"""

    def start(code: str) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [*CONTAINER, sys.executable, "-c", prologue + code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parents[2],
            )
        )
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.wait()
        one.stdin.close()
        one.stdout.close()


def test_processes_of_two_pid_namespaces_do_not_share_a_replica(directory, container):
    first = container("replica = opened(); print('open', flush=True); sys.stdin.readline()")
    assert first.stdout.readline() == "open\n"
    second = container("attempt(opened)\nsys.stdin.readline()\nattempt(opened)")
    refusal = second.stdout.readline()
    assert refusal.startswith(
        f"ConfigurationError {directory} is in use by processes of another PID namespace"
    )
    assert 'pid: "service:NAME"' in refusal
    # As if one container were started in place of another.
    first.communicate("go\n")
    second.stdin.write("go\n")
    second.stdin.flush()
    assert "Replica object" in second.stdout.readline()


def test_a_worker_in_another_pid_namespace_than_its_node_is_told_so_at_every_read(directory, container):
    replica = Replica.open(directory, writable=True, map_size=MAP_SIZE)
    page = ControlPage.create(directory)
    page.grant(boottime_ns() + LONG_S * 10**9)
    put(replica, "k")
    worker = container(f"""
for _ in range(3):
    attempt(lambda: LeasedReader(directory, map_size={MAP_SIZE}))
""")
    for _ in range(3):
        assert "ConfigurationError" in worker.stdout.readline()
    replica.close()


def test_equal_process_ids_are_refused_where_the_kernel_does_not_tell_the_namespaces(directory, container):
    nameless = "opening.NAMESPACE = '/nowhere'\n"
    first = container(
        nameless
        + "replica = opened(); replica.get('c', 'k'); print('open', flush=True); sys.stdin.readline()"
    )
    assert first.stdout.readline() == "open\n"
    second = container(nameless + "attempt(lambda: opened(writable=False).get('c', 'k'))")
    assert second.stdout.readline().startswith(
        "ConfigurationError another process with the process id 1 uses"
    )


def test_a_reader_that_was_refused_tells_it_until_it_is_no_longer_so(directory, later, monkeypatch):
    replica = Replica.open(directory, writable=True, map_size=MAP_SIZE)
    page = ControlPage.create(directory)
    put(replica, "k")
    replica.close()  # the reader is of this process
    page.grant(boottime_ns() + LONG_S * 10**9)
    reader = LeasedReader(directory, map_size=MAP_SIZE)
    assert reader.get("default", "k") == b"value"
    named = opening.pid_namespace
    monkeypatch.setattr(opening, "pid_namespace", lambda: "elsewhere")
    reader.close()
    later()
    for call in (
        lambda: reader.get("default", "k"),
        lambda: reader.has("default", "k"),
        lambda: reader.control,
    ):
        with pytest.raises(ConfigurationError, match="another PID namespace"):
            call()
    monkeypatch.setattr(opening, "pid_namespace", named)
    later()
    reader.has("default", "k")
    assert reader.get("default", "k") == b"value"
    # Without a lease nobody serves, and there is nothing to be refused.
    monkeypatch.setattr(opening, "pid_namespace", lambda: "elsewhere")
    page.revoke()
    reader.close()
    later()
    assert reader.get("default", "k") is None


@pytest.mark.parametrize("writable", [True, False])
def test_a_second_interpreter_of_a_process_is_refused_and_the_first_goes_on(directory, process, writable):
    outside = Replica.open(directory, writable=True, map_size=MAP_SIZE)
    put(outside, "k")
    both = process(f"""
try:
    import _interpreters as interpreters
    new = interpreters.create("legacy")
except ImportError:
    import _xxsubinterpreters as interpreters
    new = interpreters.create(isolated=False)
replica = Replica.open(directory, writable={writable}, map_size={MAP_SIZE})
replica.get("default", "k")
reading, writing = os.pipe()
interpreters.run_string(new, '''
import os, sys
sys.path = {sys.path!r}
from pathlib import Path
from django_hacache.replica.replica import Replica
try:
    Replica.open(Path({str(directory)!r}), writable={writable}, map_size={MAP_SIZE})
    told = "opened"
except Exception as error:
    told = type(error).__name__ + " " + str(error)
os.write(%d, told.encode() + b"\\\\n")
''' % writing)
say(os.read(reading, 4096).decode().strip())
heard()
say(replica.get("default", "k"))
""")
    assert both.stdout.readline().startswith(
        f"ConfigurationError {directory} is open in this process already"
    )
    # LMDB's locks of the first are still there: nobody takes it for dead.
    assert process("say(as_lmdb_has_it().reader_check())").stdout.readline() == "0\n"
    both.stdin.write("go\n")
    both.stdin.flush()
    assert both.stdout.readline() == "b'value'\n"
    outside.close()
