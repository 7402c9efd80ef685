"""A cluster on a network of namespaces: each node in its own, the workers of a host beside it.

Workers reach their node by its socket and its shared memory, so it does not matter in which namespace they run.
"""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from django_hacache import status
from django_hacache.exceptions import HACacheError
from django_hacache.replica.control import ControlPage
from django_hacache.status import Status, Transfer
from tests import clusters as plain
from tests.clusters import PYTHON, ROOT
from tests.faults.network import Machine, Network
from tests.waiting import eventually

PORT = 7001
SITE = {"DJANGO_SETTINGS_MODULE": "tests.faults.site"}
LANE_PORT = 7101
LED = re.compile(r"^(\S+) INFO (\S+) is now leader \(term (\d+)\)", re.MULTILINE)
DEADLY = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


# How far the wall clock, by which logs are written, is ahead of the monotonic one.
AHEAD_NS = time.time_ns() - time.monotonic_ns()


def monotonic_ns(logged: str) -> int:
    """The time of a line of a node's log, as one of time.monotonic_ns()."""
    return int(float(logged) * 1e9) - AHEAD_NS


class Leadership(NamedTuple):
    """A node took over, at a time of time.monotonic_ns()."""

    at_ns: int
    addr: str
    term: int


class Host(plain.Host):
    """One host: a machine of the network, a directory, a node, workers."""

    def __init__(
        self, machine: Machine, directory: Path, addr: str, addrs: list[str], extra: dict[str, str]
    ) -> None:
        super().__init__(directory, addr, addrs, "http", SITE | extra)
        self.machine = machine
        # How far its wall clock is off, where it has one of its own (wall_clock.py).
        self.clock = self.log.with_suffix(".clock")
        self.clock.write_text("+0")
        self.environment["FAKETIME_TIMESTAMP_FILE"] = str(self.clock)

    @property
    def running(self) -> bool:
        return self.node is not None and self.node.poll() is None

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = self.machine.inside(*PYTHON, "django", "hacache_node")
            self.node = subprocess.Popen(command, env=self.environment, cwd=ROOT, stderr=log)

    def stop_node(self) -> None:
        if self.running:
            self.signal(signal.SIGKILL)

    def status(self, timeout_s: float = 5) -> Status:
        # Not read_status: the settings of this process are not those of the cluster.
        return status.ask_node(self.location, timeout_s)

    def answers(self) -> bool:
        """Whether its node does."""
        try:
            self.status()
        except OSError:
            return False
        return True

    def memory_bytes(self) -> int:
        """What the node holds of its own: anonymous memory, without the files of the replica."""
        text = Path(f"/proc/{self.node.pid}/status").read_text()
        found = re.search(r"RssAnon:\s+(\d+) kB", text)
        assert found is not None
        return int(found[1]) * 1024

    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self.node.pid}/fd").iterdir()))

    def transfers(self) -> tuple[Transfer, ...]:
        """The snapshots that this host's node sends or receives now; none where it does not answer."""
        try:
            seen = self.status()
        except HACacheError:
            return ()
        return next(one.transfers for one in seen.hosts if one.addr == self.addr)

    def applied_index(self) -> int:
        """How much of the log its replica holds, as the control page tells."""
        page = ControlPage.open(self.location)
        assert page is not None, f"{self.addr} has no control page"
        try:
            return page.since[0]
        finally:
            page.close()

    def leaderships(self) -> list[Leadership]:
        """Every time that this host's node took over, from its log."""
        return [
            Leadership(monotonic_ns(when), addr, int(term))
            for when, addr, term in LED.findall(self.log.read_text())
        ]


class Cluster(plain.Cluster):
    """Hosts on a network of their own, and the faults that the network and signals can do to them."""

    hosts: list[Host]

    def __init__(self, directory: Path, network: Network, extra: dict[str, str] | None = None) -> None:
        self.network = network
        addrs = [f"{machine.ip}:{PORT + number}" for number, machine in enumerate(network.machines)]
        self.hosts = [
            Host(machine, directory, addr, addrs, extra or {})
            for machine, addr in zip(network.machines, addrs, strict=True)
        ]

    def repair(self) -> None:
        """Undo every fault and wait until every host serves again."""
        self.network.heal()
        for host in self.hosts:
            if host.running:
                host.signal(signal.SIGCONT)
            else:
                host.start()
        self.wait()
        eventually(lambda: not any(one.fresh for one in self.hosts[0].status().hosts), 40)

    def wait(self, hosts: Sequence[Host] | None = None) -> None:
        """Wait until these hosts serve, or all."""
        # The lease of a node that was killed holds on for a moment, and serves nobody.
        for host in hosts or self.hosts:
            eventually(host.answers, 40)
        super().wait(hosts)

    def lanes(self) -> list[int]:
        """How many lanes each host's node has up."""
        return [
            len(next(one for one in host.status().hosts if one.addr == host.addr).lanes)
            for host in self.hosts
        ]

    def leaderships(self) -> list[Leadership]:
        """Every change of the leader in the life of this cluster, in order."""
        return sorted(one for host in self.hosts for one in host.leaderships())

    def leader_addr(self) -> str:
        return self.leader().addr

    def term(self) -> int:
        return max(host.status().term or 0 for host in self.hosts if host.running)
