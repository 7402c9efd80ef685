"""Three hosts on a network of their own, with recorders on them, set up and taken down."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.cluster import LANE_PORT, Cluster
from tests.faults.network import Network
from tests.faults.recording import Recorders

SHARED_MEMORY = Path("/dev/shm")
# As a site has it that sets nothing; the plain test clusters are more hasty.
AS_SHIPPED = {"CACHE_ELECTION_TIMEOUT": "", "CACHE_LANE_PORT": str(LANE_PORT)}


@contextmanager
def laboratory(size: int = 3) -> Iterator[tuple[Cluster, Recorders]]:
    """A running cluster and its recorders. Whatever happens, nothing of it is left afterwards."""
    network = Network(size)
    shared = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    try:
        with tempfile.TemporaryDirectory(prefix="faults-", dir=shared) as directory:
            cluster = Cluster(Path(directory), network, AS_SHIPPED)
            recorders = Recorders(cluster, Path(directory))
            try:
                cluster.start()
                yield cluster, recorders
            finally:
                recorders.end()
                cluster.stop()
    finally:
        network.remove()
