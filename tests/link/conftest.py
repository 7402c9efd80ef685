from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

StartNode = Callable[[], "subprocess.Popen[str]"]


@pytest.fixture
def path() -> Iterator[Path]:
    # pytest's own directories can be too long for a Unix socket.
    with tempfile.TemporaryDirectory(prefix="link-") as directory:
        yield Path(directory) / "node.sock"


@pytest.fixture
def start_node(path: Path) -> Iterator[StartNode]:
    """Starts an echo node on `path`, any number of times."""
    nodes: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.link.echo_node", str(path)]
        node = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        nodes.append(node)
        assert node.stdout is not None
        assert node.stdout.readline() == "ready\n"
        return node

    yield start
    for node in nodes:
        node.kill()
        node.wait()
        assert node.stdout is not None
        node.stdout.close()


@pytest.fixture
def node(start_node: StartNode) -> subprocess.Popen[str]:
    return start_node()
