"""Servers as sites run them: threads and greenlets, patched early or late, forked with or without Python's hooks."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.node_process import free_port
from tests.waiting import eventually

REQUESTS, ROUNDS, CLIENTS, WORKERS = 60, 5, 6, 2

GUNICORN = [sys.executable, "-m", "gunicorn", "--log-level", "critical", "--workers", str(WORKERS)]
UWSGI = [str(Path(sys.executable).with_name("uwsgi")), "--home", sys.prefix, "--pythonpath", ".", "--master"]
UWSGI += ["--processes", str(WORKERS), "--die-on-term", "--disable-logging", "--need-app"]
UVICORN = [sys.executable, "-m", "uvicorn", "--log-level", "critical", "--workers", str(WORKERS)]
WSGI, ASGI = "tests.cache.serving:application", "tests.cache.serving:asgi"

# What a server is started with, and the module that it needs.
SERVERS = {
    "gunicorn, one request at a time": ("gunicorn", [*GUNICORN, WSGI]),
    "gunicorn, loaded before it forks": ("gunicorn", [*GUNICORN, "--preload", WSGI]),
    "gunicorn with threads": ("gunicorn", [*GUNICORN, "--threads", "4", WSGI]),
    "gunicorn with threads, loaded before it forks": (
        "gunicorn",
        [*GUNICORN, "--threads", "4", "--preload", WSGI],
    ),
    "gunicorn with gevent": ("gevent", [*GUNICORN, "-k", "gevent", WSGI]),
    "gunicorn with gevent, loaded before it patches": (
        "gevent",
        [*GUNICORN, "-k", "gevent", "--preload", WSGI],
    ),
    "uWSGI, loaded before it forks without hooks": ("pyuwsgi", [*UWSGI, "--module", WSGI]),
    "uWSGI with threads": ("pyuwsgi", [*UWSGI, "--enable-threads", "--threads", "4", "--module", WSGI]),
    "uvicorn": ("uvicorn", [*UVICORN, ASGI]),
}


def need(module: str) -> None:
    if find_spec(module) is None:
        reason = f"{module} is not installed"
        if os.environ.get("HACACHE_REQUIRE_ALL_TESTS"):
            pytest.fail(reason)
        pytest.skip(reason)


def environment(served, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        **served.hacache,
        "DJANGO_SETTINGS_MODULE": "tests.cache.site",
        "HACACHE_TEST_LOCATION": str(served.location),
        **more,
    }


def bound_to(command: list[str], port: int) -> list[str]:
    if command[: len(UVICORN)] == UVICORN:
        return [*command, "--port", str(port)]
    return [*command, "--http-socket" if command[0] == UWSGI[0] else "--bind", f"127.0.0.1:{port}"]


def judge(answers: list[str]) -> None:
    """Every process answered, none was wrong, and none reads in vain."""
    told = [tuple(map(int, answer.split())) for answer in answers]
    assert sum(wrong for _, wrong, _ in told) == 0
    pids = {pid for pid, _, _ in told}
    assert len(pids) == WORKERS
    for pid in pids:
        missed = [misses for one, _, misses in told if one == pid]
        assert sum(missed) < len(missed) * ROUNDS


@pytest.mark.parametrize("server", SERVERS)
def test_every_worker_of_a_server_reads_what_it_wrote(served, caches, server):
    module, command = SERVERS[server]
    need(module)
    port = free_port()

    def ask(name: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request("GET", f"/{name}/{ROUNDS}")
            answer = connection.getresponse()
            assert answer.status == 200
            return answer.read().decode()
        finally:
            connection.close()

    def all_answer() -> bool:
        try:
            with ThreadPoolExecutor(CLIENTS) as clients:
                first = clients.map(ask, (f"first{number}" for number in range(CLIENTS)))
                return len({answer.split()[0] for answer in first}) == WORKERS
        except OSError:
            return False

    with subprocess.Popen(bound_to(command, port), env=environment(served)) as process:
        try:
            eventually(all_answer)
            with ThreadPoolExecutor(CLIENTS) as clients:
                answers = list(clients.map(ask, (f"name{number}" for number in range(REQUESTS))))
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
    judge(answers)


def test_every_process_of_a_celery_worker_reads_what_it_wrote(served, caches, tmp_path, monkeypatch):
    need("celery")
    monkeypatch.setenv("HACACHE_TEST_QUEUE", str(tmp_path))
    options = ["--pool", "prefork", "--concurrency", str(WORKERS), "--loglevel", "CRITICAL"]
    options += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    command = [sys.executable, "-m", "celery", "--app", "tests.cache.tasks", "worker", *options]
    names = [f"task{number}" for number in range(20)]
    cache = caches["default"]
    with subprocess.Popen(command, env=environment(served), stdout=subprocess.DEVNULL) as process:
        try:
            from celery import Celery

            app = Celery(broker="filesystem://")
            app.conf.broker_transport_options = {
                "data_folder_in": str(tmp_path),
                "control_folder": str(tmp_path / "control"),
                "data_folder_out": str(tmp_path),
            }
            for name in names:
                app.send_task("work", (name, ROUNDS))
            for name in names:
                eventually(partial(cache.has_key, f"answer:{name}"))
        finally:
            process.terminate()
            process.wait(20)
    judge([cache.get(f"answer:{name}") for name in names])
