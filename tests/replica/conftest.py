from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from django_hacache.replica.replica import Replica
from tests.replica.writing import MAP_SIZE
from tests.shared_memory import SHARED


@pytest.fixture
def directory():
    """A directory that does not exist yet, on tmpfs where there is one."""
    parent = Path(tempfile.mkdtemp(prefix="hacache-test-", dir=SHARED))
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
from django_hacache.replica import leased_reader
from django_hacache.replica.replica import Replica
from django_hacache.replica.leased_reader import LeasedReader
directory = Path({str(directory)!r})
def say(word):
    print(word, flush=True)
def heard():
    return sys.stdin.readline()
def as_lmdb_has_it():
    from tests.replica import writing
    return writing.as_lmdb_has_it(directory)
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
            cwd=Path(__file__).parents[2],
        )
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()
