from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from django_hacache.replica.replica import Replica

MAP_SIZE = 64 * 1024 * 1024
PROJECT = Path(__file__).parents[2]


@pytest.fixture
def directory():
    """A directory that does not exist yet, on tmpfs where there is one."""
    parent = Path(
        tempfile.mkdtemp(prefix="hacache-test-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
    )
    yield parent / "location"
    shutil.rmtree(parent)


@pytest.fixture
def replica(directory):
    opened = Replica.open(directory, writable=True, map_size=MAP_SIZE)
    yield opened
    opened.close()


@pytest.fixture
def process(directory):
    """Start a Python process that has `directory` and talks over stdin and stdout."""
    started = []
    prologue = f"""
import os, sys
from pathlib import Path
from django_hacache.exceptions import ReplicaError
from django_hacache.replica.replica import Replica
from django_hacache.replica.leased import LeasedReader
directory = Path({str(directory)!r})
def say(word):
    print(word, flush=True)
def heard():
    return sys.stdin.readline()
def put(replica, cache, key, value, expires_at=0):
    with replica.write() as transaction:
        transaction.set(cache, key, value, version=transaction.next_version(), expires_at=expires_at)
"""

    def start(code):
        child = subprocess.Popen(
            [sys.executable, "-c", prologue + code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
        )
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()


@pytest.fixture
def small_tmpfs(tmp_path):
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
