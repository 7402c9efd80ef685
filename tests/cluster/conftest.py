"""Clusters of real node processes, one for all that do not break it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.clusters import Cluster
from tests.node.streams import streams
from tests.shared_memory import SHARED


@pytest.fixture
def new_cluster():
    """Makes clusters that the test may break."""
    made = []
    with tempfile.TemporaryDirectory(prefix="cluster-", dir=SHARED) as directory:

        def make(size=3, scheme="http", **extra):
            made.append(Cluster(Path(directory), size, scheme, extra))
            return made[-1].start()

        yield make
        for cluster in made:
            cluster.stop()


@pytest.fixture(scope="module")
def cluster():
    """Three hosts that no test breaks."""
    with tempfile.TemporaryDirectory(prefix="cluster-", dir=SHARED) as directory:
        cluster = Cluster(Path(directory), 3).start()
        yield cluster
        cluster.stop()


@pytest.fixture
def connect():
    """Opens streams to nodes, as programs that are none open them."""
    with streams() as connect:
        yield connect
