"""A server that loads the site, uses the cache, and only then forks its workers."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.node_process import free_port
from tests.waiting import eventually

WORKERS, REQUESTS = 3, 300


@pytest.fixture
def server(served, caches):
    """gunicorn --preload on the location of the test: its process, and a function that asks it."""
    port = free_port()
    environment = {
        **os.environ,
        **served.hacache,
        "DJANGO_SETTINGS_MODULE": "tests.cache.site",
        "HACACHE_TEST_LOCATION": str(served.location),
    }
    options = [
        "--preload",
        "--workers",
        str(WORKERS),
        "--bind",
        f"127.0.0.1:{port}",
        "--log-level",
        "critical",
    ]
    command = [sys.executable, "-m", "gunicorn", "tests.cache.preloaded:application", *options]

    def ask(_=None):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            assert answer.status == 200
            return answer.read().decode().split()
        finally:
            connection.close()

    def answers():
        try:
            return ask()
        except ConnectionRefusedError:
            return False

    with subprocess.Popen(command, env=environment) as process:
        eventually(answers)
        yield process, ask
        process.kill()


def test_workers_that_are_forked_after_the_cache_was_used_share_it(server, caches):
    process, ask = server
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, range(REQUESTS)))
    pids, loaded_by, counts = zip(*answers, strict=True)
    assert set(loaded_by) == {str(process.pid)}
    assert str(process.pid) not in pids
    assert len(set(pids)) > 1
    assert len(set(counts)) == REQUESTS
    # A worker that is killed is forked anew from the one that has loaded the site.
    os.kill(int(pids[0]), signal.SIGKILL)
    eventually(lambda: ask()[0] not in pids)
    assert caches["default"].get("loaded_by") == str(process.pid)
    process.terminate()
    assert process.wait(20) == 0
