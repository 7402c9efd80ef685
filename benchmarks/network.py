"""Three hosts and a network between them that takes time: network namespaces of this machine.

A packet takes as long for whoever sends it. The kernel's netem does it; where the kernel has none, a process of our own
(delay). The namespaces are those of the tests with faults. Knows no cache.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Protocol, Self

from benchmarks import proc
from benchmarks.delay import QUEUE
from benchmarks.places import Place
from benchmarks.subprocesses import Impossible, stop
from tests.faults import network as namespaces
from tests.faults.network import CommandFailed, Machine, run

if TYPE_CHECKING:
    from types import TracebackType

SIZE = 3


class Network:
    """Hosts that reach each other at once, until `delay` says how long a packet takes. Leaving it removes it."""

    def __init__(self) -> None:
        """Raise Impossible where there can be no network."""
        reason = namespaces.why_impossible()
        if reason is not None:
            raise Impossible(reason)
        self._hosts = namespaces.Network(SIZE)
        self._delay: Delay = Nothing()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._delay.stop()
        self._hosts.remove()

    @property
    def places(self) -> tuple[Place, ...]:
        return tuple(Place(machine.ip, tuple(machine.inside())) for machine in self._hosts.machines)

    def delay(self, one_way_us: int) -> Delay:
        """From now on a packet takes so long to another host; what it is that takes the time."""
        self._delay.stop()
        self._delay = Nothing()
        try:
            self._delay = Netem(self._hosts.machines, one_way_us)
        except CommandFailed:
            self._delay = Queue(self._hosts, one_way_us)
        return self._delay


class Delay(Protocol):
    """What makes the packets wait."""

    name: str

    def cpu_seconds(self) -> float:
        """The CPU time that it has taken itself, beside all that is measured."""

    def stop(self) -> None: ...


class Nothing:
    name = "nothing"

    def cpu_seconds(self) -> float:
        return 0.0

    def stop(self) -> None: ...


class Netem:
    """The kernel's own, on every host's way out."""

    name = "netem"

    def __init__(self, machines: list[Machine], one_way_us: int) -> None:
        self._machines = machines
        how = ["netem", "delay", f"{one_way_us}us", "limit", "100000"]
        for machine in machines:
            run(*machine.inside("tc", "qdisc", "add", "dev", namespaces.LINK, "root", *how))

    def cpu_seconds(self) -> float:
        return 0.0

    def stop(self) -> None:
        for machine in self._machines:
            run(*machine.inside("tc", "qdisc", "delete", "dev", namespaces.LINK, "root"))


class Queue:
    """A process in the middle that the firewall hands every TCP packet to."""

    name = "a process"

    def __init__(self, hosts: namespaces.Network, one_way_us: int) -> None:
        self._hosts = hosts
        command = hosts.in_the_middle(sys.executable, "-m", "benchmarks.delay", str(one_way_us))
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise Impossible(
                f"neither netem nor a queue of packets: the delay ended with {self._process.wait()}"
            )
        self._firewall("--append")

    def _firewall(self, change: str) -> None:
        bridge = ("ip", "link", "set", "bridge", "type", "bridge", "nf_call_iptables", "1")
        run(*self._hosts.in_the_middle(*bridge))
        rule = ("FORWARD", "-p", "tcp", "-j", "NFQUEUE", "--queue-num", str(QUEUE), "--queue-bypass")
        run(*self._hosts.in_the_middle("iptables", "-w", change, *rule))

    def cpu_seconds(self) -> float:
        return proc.cpu_seconds(self._process.pid)

    def stop(self) -> None:
        self._firewall("--delete")
        stop(self._process)
        for end in (self._process.stdin, self._process.stdout):
            assert end is not None
            end.close()
