"""Many processes and threads at once, forks, and processes that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from django_hacache.worker import process, setup
from django_hacache.worker.sites import ClusterSite
from tests.cache.processes import FORKS, in_child
from tests.waiting import eventually


@pytest.fixture
def start_worker(served, caches):
    """Starts tests.cache.worker on the location of the test."""
    workers = []

    def start(*arguments: object) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            **served.hacache,
            "DJANGO_SETTINGS_MODULE": "tests.cache.site",
            "HACACHE_TEST_LOCATION": str(served.location),
        }
        command = [sys.executable, "-m", "tests.cache.worker", *map(str, arguments)]
        workers.append(subprocess.Popen(command, env=environment))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()
        worker.wait()


@pytest.mark.parametrize(("operation", "total"), [("incr", 4 * 200), ("float", 4 * 200 * 0.5), ("add", 200)])
def test_processes_do_not_lose_each_others_changes(caches, start_worker, operation, total):
    cache = caches["default"]
    cache.set("key", 0)
    workers = [start_worker(operation, "key", 200) for _ in range(4)]
    assert [worker.wait() for worker in workers] == [0] * 4
    eventually(lambda: cache.get("key") == total)


def test_threads_do_not_lose_each_others_changes(caches):
    caches["default"].set("key", 0)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: caches["default"].incr("key"), range(400)))
    assert caches["default"].get("key") == 400


def test_many_threads_read_while_others_write(caches):
    caches["default"].set("key", 0)
    stop = threading.Event()
    failures = []

    def read() -> None:
        while not stop.is_set():
            if caches["default"].get("key") is None:
                failures.append("a value was not there")

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for number in range(50):
        caches["default"].set("key", number)
    stop.set()
    for reader in readers:
        reader.join()
    assert failures == []


@pytest.mark.parametrize("fork", FORKS, ids=["Python's", "the C library's"])
def test_a_forked_child_shares_the_cache(caches, fork):
    cache = caches["default"]
    cache.set("key", 1)

    def child() -> int:
        if cache.get("key") != 1:
            return 1
        cache.set("from_child", True)
        return 0 if cache.incr("key") == 2 else 2

    assert in_child(child, fork) == 0
    assert cache.incr("key") == 3
    assert cache.get("from_child") is True


def test_children_that_ran_none_of_pythons_hooks_get_their_own_answers_at_the_same_time(caches):
    cache = caches["default"]
    cache.set("key", 0)
    children = []
    for name in range(3):
        child = FORKS[1]()
        if child == 0:
            wrong = 99
            try:
                wrong = 0
                for number in range(100):
                    cache.set(f"own{name}", number)
                    wrong += cache.incr(f"own{name}") != number + 1
                    wrong += cache.get("key") is None
            finally:
                os._exit(min(wrong, 99))
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 3
    assert cache.incr("key") == 1


@pytest.mark.parametrize("fork", FORKS, ids=["Python's", "the C library's"])
def test_no_two_requests_have_one_name_whichever_process_makes_them(fork, tmp_path):
    site = process.site_of(ClusterSite, tmp_path, 1 << 20)
    before = {site.request_name() for _ in range(3)}
    reading, writing = os.pipe()
    assert in_child(lambda: os.write(writing, site.request_name().encode()) - 32, fork) == 0
    of_child = os.read(reading, 100).decode()
    os.close(reading)
    os.close(writing)
    after = {site.request_name() for _ in range(3)}
    assert len(before | after | {of_child}) == 7


def test_what_was_forked_without_hooks_makes_reads_without_end(caches):
    """A reader slot a read would be used up after 1024."""
    cache = caches["default"]
    cache.set("key", 1)

    def child() -> int:
        return min(sum(cache.get("key") != 1 for _ in range(1500)), 98)

    assert in_child(child, FORKS[1]) == 0


def test_forks_of_a_busy_process(caches):
    cache = caches["default"]
    cache.set("key", "value")
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            caches["default"].set("other", 1)
            caches["default"].get("other")

    threads = [threading.Thread(target=busy) for _ in range(3)]
    for thread in threads:
        thread.start()

    def child() -> int:
        cache.set("child", os.getpid())
        return 0 if cache.get("key") == "value" else 1

    codes = [in_child(child) for _ in range(10)]
    stop.set()
    for thread in threads:
        thread.join()
    assert codes == [0] * 10
    assert cache.get("key") == "value"


def test_killed_processes_leave_the_cache_usable(caches, start_worker):
    cache = caches["default"]
    for round_ in range(5):
        worker = start_worker("set", f"{round_}:", 100_000)
        eventually(partial(cache.has_key, f"{round_}:50"))
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        cache.set("after", round_)
        assert cache.get("after") == round_
        assert cache.add(f"added{round_}", 1)


def test_a_child_that_is_forked_while_another_thread_reads_the_settings_can_read_them(caches, monkeypatch):
    """On Python 3.11 functools.cached_property has a lock that all objects of a class share."""
    begun, go_on, parent = threading.Event(), threading.Event(), os.getpid()
    set_up = setup.set_up

    def slow(*arguments):
        if os.getpid() == parent:
            begun.set()
            go_on.wait()
        return set_up(*arguments)

    monkeypatch.setattr(setup, "set_up", slow)
    process.forget()
    thread = threading.Thread(target=lambda: caches["second"].set("key", 1))
    thread.start()
    begun.wait()

    def child() -> int:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        caches["default"].set("from_child", 1)
        return 0

    code = in_child(child)
    go_on.set()
    thread.join()
    assert code == 0
