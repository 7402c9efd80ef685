"""Starts one-node clusters as real processes."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from django_hacache.replica.control import ControlPage

START_TIMEOUT_S = 30
TOKEN = "a token for tests, long enough for no warning"


def free_port() -> int:
    """A port that nobody listens on, below those that the kernel gives to outgoing connections.

    A node that is killed and started again finds its port still free.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def cluster_settings(addr: str) -> dict[str, str]:
    """HACACHE for a cluster of the one node at `addr`."""
    return {
        "HA_MODE": "true",
        "HA_HOSTS": f"http://{addr}",
        "HOSTNAME_OVERWRITE": addr,
        "CACHE_TLS": "false",
        "CACHE_AUTH_TOKEN": TOKEN,
    }


def serves(location: Path) -> bool:
    """Whether the node of `location` knows a leader and lets its host read."""
    page = ControlPage.open(location)
    if page is None:
        return False
    try:
        return page.writable() and page.holds(page.epoch)
    finally:
        page.close()


@dataclass
class NodeProcess:
    """One node, started on `location` and ready to serve."""

    location: Path
    addr: str
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, location: Path, settings_module: str, addr: str | None = None) -> NodeProcess:
        addr = addr or f"127.0.0.1:{free_port()}"
        environment = {
            **os.environ,
            **cluster_settings(addr),
            "DJANGO_SETTINGS_MODULE": settings_module,
            "HACACHE_TEST_LOCATION": str(location),
        }
        command = ["-m", "django", "hacache_node", "--addr", addr, "--location", str(location)]
        process = subprocess.Popen(
            [sys.executable, *command],
            env=environment,
            cwd=Path(__file__).parent.parent,
        )
        node = cls(location, addr, process)
        node.wait_until_it_serves()
        return node

    def wait_until_it_serves(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not serves(self.location):
            assert self.process.poll() is None, f"the node ended with {self.process.returncode}"
            assert time.monotonic() < deadline, "the node does not serve"
            time.sleep(0.01)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
