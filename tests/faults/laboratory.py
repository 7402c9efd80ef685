"""Three hosts on a network of their own, with recorders on them, set up and taken down."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.faults.cluster import LANE_PORT, Cluster
from tests.faults.network import Network, run
from tests.faults.recording import Recorders

SHARED_MEMORY = Path("/dev/shm")
# As a site has it that sets nothing; the plain test clusters are more hasty.
AS_SHIPPED = {"CACHE_ELECTION_TIMEOUT": "", "CACHE_LANE_PORT": str(LANE_PORT)}


def directory_name() -> str:
    """How directories of this process begin, so that a later one knows whose they are."""
    return f"hacache-faults-{os.getpid()}-"


def remove_leftovers() -> None:
    """Remove the directories of processes that have died without doing it, and what is mounted in them."""
    for directory in SHARED_MEMORY.glob("hacache-faults-*"):
        if not Path(f"/proc/{directory.name.split('-')[2]}").exists():
            for location in directory.iterdir():
                if location.is_mount():
                    run("umount", "-l", str(location))
            # Another process may do the same at this moment.
            shutil.rmtree(directory, ignore_errors=True)
    # What libfaketime shares with the children of a process stays where that is killed.
    for shared in SHARED_MEMORY.glob("*faketime_s[he]m_*"):
        if not Path(f"/proc/{shared.name.rpartition('_')[2]}").exists():
            shared.unlink(missing_ok=True)


@contextmanager
def laboratory(
    size: int = 3, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[Cluster, Recorders]]:
    """A running cluster and its recorders. Whatever happens, nothing of it is left afterwards."""
    remove_leftovers()
    network = Network(size)
    shared = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    try:
        with tempfile.TemporaryDirectory(prefix=directory_name(), dir=shared) as directory:
            cluster = Cluster(Path(directory), network, AS_SHIPPED | dict(environment or {}))
            recorders = Recorders(cluster, Path(directory))
            try:
                cluster.start()
                yield cluster, recorders
            finally:
                recorders.end()
                cluster.stop()
    finally:
        network.remove()
        remove_leftovers()
