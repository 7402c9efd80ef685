"""A node whose directory, or what its workers need in it, is removed under it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tests.node.conftest import SHARED, SITE
from tests.node_process import NodeProcess


def test_an_idle_node_whose_directory_was_removed_ends_so_that_it_is_started_again():
    with tempfile.TemporaryDirectory(prefix="node-", dir=SHARED) as directory:
        node = NodeProcess.start(Path(directory) / "location", SITE)
        try:
            shutil.rmtree(node.location)
            assert node.process.wait(10) == 1
        finally:
            node.kill()


def test_a_node_whose_control_page_was_removed_ends_so_that_it_is_started_again():
    """A worker that starts later would find no node, and miss every read without a word."""
    with tempfile.TemporaryDirectory(prefix="node-", dir=SHARED) as directory:
        node = NodeProcess.start(Path(directory) / "location", SITE)
        try:
            (node.location / "control").unlink()
            assert node.process.wait(10) == 1
        finally:
            node.kill()
