"""`make demo`: three hosts that start, lose a node, report it, and stop together."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testproject.demo import HOSTS

ROOT = Path(__file__).resolve().parent.parent.parent


# The nodes' ports begin so far above those of the sites.
NODES = 3 * HOSTS
PORTS = NODES + HOSTS


def free_ports() -> int:
    """The first of PORTS ports in a row that nobody uses now."""
    for first in range(20_000 + os.getpid() % 10_000, 60_000, PORTS):
        sockets = [socket.socket() for _ in range(PORTS)]
        try:
            for offset, probe in enumerate(sockets):
                probe.bind(("127.0.0.1", first + offset))
        except OSError:
            continue
        else:
            return first
        finally:
            for probe in sockets:
                probe.close()
    raise AssertionError("no free ports")


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    web_port = free_ports()
    command = [sys.executable, "-m", "testproject.demo"]
    ports = ["--web-port", str(web_port), "--node-port", str(web_port + NODES)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "DEMO_STATE": str(tmp_path)}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    with subprocess.Popen(
        [*command, *ports],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        yield process
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def read_until(demo: subprocess.Popen[str], words: str) -> str:
    """What the demo prints up to the line with these words."""
    assert demo.stdout is not None
    lines = []
    for line in demo.stdout:
        lines.append(line)
        if words in line:
            return "".join(lines)
    raise AssertionError("".join(lines))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_demo_reports_a_killed_node_goes_on_and_stops_everything(demo: subprocess.Popen[str]) -> None:
    introduction = read_until(demo, "Ctrl-C      stop everything")
    assert "as admin, password demo" in introduction
    nodes = [int(pid) for pid in re.findall(r"its node: process (\d+)", introduction)]
    assert len(nodes) == HOSTS
    os.kill(nodes[1], signal.SIGKILL)
    assert f"node process {nodes[1]} of host 2 was ended by SIGKILL" in read_until(demo, "SIGKILL")
    assert demo.stdin is not None
    demo.stdin.write("status\n")
    demo.stdin.flush()
    assert ", quorum" in read_until(demo, "Health")
    demo.send_signal(signal.SIGINT)
    read_until(demo, "Stopping")
    demo.send_signal(signal.SIGINT)  # whoever is impatient leaves nothing behind either
    read_until(demo, "Stopped.")
    assert demo.wait(60) == 0
    assert not any(alive(pid) for pid in nodes)


def test_a_port_that_is_taken_is_named_before_anything_starts() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "testproject.demo", "--web-port", str(port)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"port {port} cannot be used" in done.stderr
    assert "make demo WEB_PORT=" in done.stderr
