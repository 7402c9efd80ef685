"""A node whose directory, or what its workers need in it, is removed under it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.node_process import NodeProcess
from tests.shared_memory import SHARED


def test_an_idle_node_whose_directory_was_removed_ends_so_that_it_is_started_again():
    with tempfile.TemporaryDirectory(prefix="node-", dir=SHARED) as directory:
        node = NodeProcess.start(Path(directory) / "location", "tests.cache.site")
        try:
            shutil.rmtree(node.location)
            assert node.process.wait(10) == 1
        finally:
            node.kill()


@pytest.mark.parametrize("name", ["control", "node.sock", "replica.lmdb", "replica.lmdb-lock"])
def test_a_node_of_which_one_file_was_removed_ends_so_that_it_is_started_again(name):
    """Without the control page a worker that starts later would miss every read, without the socket fail each write."""
    with tempfile.TemporaryDirectory(prefix="node-", dir=SHARED) as directory:
        node = NodeProcess.start(Path(directory) / "location", "tests.cache.site")
        try:
            (node.location / name).unlink()
            assert node.process.wait(10) == 1
        finally:
            node.kill()


def test_a_node_that_is_told_to_stop_ends_well():
    """It removes its socket itself then."""
    with tempfile.TemporaryDirectory(prefix="node-", dir=SHARED) as directory:
        node = NodeProcess.start(Path(directory) / "location", "tests.cache.site")
        try:
            node.process.terminate()
            assert node.process.wait(10) == 0
        finally:
            node.kill()
