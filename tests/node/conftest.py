from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest

from django_hacache.replica.replica import Replica
from tests.node.leading import Leader
from tests.node.streams import streams
from tests.node_process import NodeProcess
from tests.shared_memory import SHARED


@pytest.fixture(scope="module")
def node():
    """A cluster of one, as a process."""
    with tempfile.TemporaryDirectory(prefix="node-", dir=SHARED) as directory:
        node = NodeProcess.start(Path(directory), "tests.cache.site")
        yield node
        node.stop()


@pytest.fixture
def connect(node):
    """Opens streams to the node, or to another address."""
    with streams() as connect:
        yield lambda addr=None, **arguments: connect(addr or node.addr, **arguments)


@pytest.fixture
def client(connect):
    """A stream whose greeting was read."""
    stream = connect()
    stream.receive()
    return stream


@pytest.fixture
def open_replica():
    """Opens the same replica with its journal, again and again."""
    opened = []
    with tempfile.TemporaryDirectory(prefix="node-", dir=SHARED) as directory:

        def reopen(**arguments):
            if opened:
                opened.pop().close()
            location = Path(directory) / "location"
            opened.append(
                Replica.open(location, writable=True, map_size=64 << 20, keeps_journal=True, **arguments)
            )
            return opened[-1]

        yield reopen
        for replica in opened:
            replica.close()


@pytest.fixture
def replica(open_replica):
    return open_replica()


@pytest.fixture
def leader(replica):
    return Leader(replica)


@pytest.fixture
def rng():
    return random.Random(1)
