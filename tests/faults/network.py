"""A private network of hosts on this machine, and what can go wrong in it.

Each host is a network namespace; a bridge in a namespace of its own joins them. So nothing of it touches the
machine's own network, and deleting the namespaces deletes everything.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

TOOLS = ("ip", "tc", "iptables")
NAME = re.compile(r"hacache-(\d+)-[\w-]+")
LINK = "eth0"
SLOW = "1mbit"
# A process may have several networks at a time.
COUNT = itertools.count(1)


def why_impossible() -> str | None:
    """What is missing for namespaces and faults; None where all is there."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    name = f"hacache-{os.getpid()}-probe"
    try:
        run("ip", "netns", "add", name)
        inside = ["ip", "netns", "exec", name]
        run(*inside, "iptables", "-A", "INPUT", *at_random(0.5), "-j", "DROP")
        run(*inside, "iptables", "-t", "nat", "-A", "PREROUTING", *port_to(1, 2))
        run(*inside, "tc", "qdisc", "add", "dev", "lo", "root", *bucket())
    except CommandFailed as error:
        return f"the kernel refuses: {error}"
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
    return None


class CommandFailed(Exception):
    """A command said no."""


def run(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise CommandFailed(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def at_random(probability: float) -> list[str]:
    return ["-m", "statistic", "--mode", "random", "--probability", str(probability)]


def port_to(port: int, other: int) -> list[str]:
    return ["-p", "tcp", "--dport", str(port), "-j", "REDIRECT", "--to-ports", str(other)]


def bucket(rate: str = SLOW) -> list[str]:
    return ["tbf", "rate", rate, "burst", "16kb", "latency", "400ms"]


def remove_leftovers() -> None:
    """Remove the networks of processes that have died without doing it."""
    for line in run("ip", "netns", "list").splitlines():
        match = NAME.match(line)
        if match and not Path(f"/proc/{match[1]}").exists():
            _delete(match[0])


def _delete(namespace: str) -> None:
    for pid in run("ip", "netns", "pids", namespace).split():
        os.kill(int(pid), signal.SIGKILL)
    run("ip", "netns", "delete", namespace)


@dataclass(frozen=True)
class Machine:
    """One host of the network."""

    namespace: str
    ip: str
    port: str  # its end in the bridge

    def inside(self, *command: str) -> list[str]:
        """The command, run on this host."""
        return ["ip", "netns", "exec", self.namespace, *command]


class Network:
    """Hosts that reach each other until told otherwise. `heal` undoes every fault, `remove` everything."""

    def __init__(self, size: int) -> None:
        self._prefix = f"hacache-{os.getpid()}-{next(COUNT)}"
        self._bridge = f"{self._prefix}-bridge"
        self.machines: list[Machine] = []
        self._slow: set[Machine] = set()
        remove_leftovers()
        run("ip", "netns", "add", self._bridge)
        self._in_bridge("ip", "link", "add", "bridge", "type", "bridge")
        self._in_bridge("ip", "link", "set", "bridge", "up")
        for number in range(1, size + 1):
            self.machines.append(self._add(number))
        # One that belongs to nobody: from here come the strangers.
        self.outside = self._add(200)

    def in_the_middle(self, *command: str) -> list[str]:
        """The command, run where the packets of all hosts pass."""
        return ["ip", "netns", "exec", self._bridge, *command]

    def _in_bridge(self, *command: str) -> None:
        run(*self.in_the_middle(*command))

    def _add(self, number: int) -> Machine:
        machine = Machine(f"{self._prefix}-host{number}", f"10.77.0.{number}", f"port{number}")
        namespace = machine.namespace
        run("ip", "netns", "add", namespace)
        pair = ["type", "veth", "peer", "name", machine.port, "netns", self._bridge]
        run("ip", "-n", namespace, "link", "add", LINK, *pair)
        run("ip", "-n", namespace, "address", "add", f"{machine.ip}/24", "dev", LINK)
        run("ip", "-n", namespace, "link", "set", LINK, "up")
        run("ip", "-n", namespace, "link", "set", "lo", "up")
        self._in_bridge("ip", "link", "set", machine.port, "master", "bridge", "up")
        return machine

    # Packets are dropped where they arrive: who sends them is not told.

    def _drop(self, at: Machine, *which: str) -> None:
        run(*at.inside("iptables", "-w", "-A", "INPUT", "-i", LINK, *which, "-j", "DROP"))

    def lose(self, probability: float) -> None:
        """Lose packets at random, in both directions on every link."""
        for machine in self.machines:
            self._drop(machine, *at_random(probability))

    def cut_way(self, sender: Machine, receiver: Machine) -> None:
        """Nothing of `sender` reaches `receiver` any more; the other way stays."""
        self._drop(receiver, "-s", sender.ip)

    def deafen(self, machine: Machine) -> None:
        """The host hears nobody, and is heard."""
        self._drop(machine)

    def silence(self, machine: Machine) -> None:
        """The host hears everybody, and nobody hears it."""
        for other in self._others(machine):
            self.cut_way(machine, other)

    def cut_port(self, port: int) -> None:
        """Nothing goes to this TCP port of any host, nor comes from it."""
        for machine in self.machines:
            self._drop(machine, "-p", "tcp", "--dport", str(port))
            self._drop(machine, "-p", "tcp", "--sport", str(port))

    def redirect(self, machine: Machine, port: int, other: int) -> None:
        """New connections to a TCP port of the host get to another of its ports; its own do not."""
        command = ["iptables", "-w", "-t", "nat", "-A", "PREROUTING", "-i", LINK]
        run(*machine.inside(*command, *port_to(port, other)))

    def stop_dropping(self) -> None:
        """Nothing is dropped any more; what is redirected stays so."""
        for machine in self.machines:
            run(*machine.inside("iptables", "-w", "-F", "INPUT"))

    def isolate(self, machine: Machine) -> None:
        self.deafen(machine)
        self.silence(machine)

    def slow_down(self, machine: Machine, rate: str = SLOW) -> None:
        """Give the host a slow link, in both directions."""
        self._slow.add(machine)
        run(*machine.inside("tc", "qdisc", "add", "dev", LINK, "root", *bucket(rate)))
        self._in_bridge("tc", "qdisc", "add", "dev", machine.port, "root", *bucket(rate))

    def heal(self) -> None:
        self.stop_dropping()
        for machine in self.machines:
            run(*machine.inside("iptables", "-w", "-t", "nat", "-F", "PREROUTING"))
        for machine in self._slow:
            run(*machine.inside("tc", "qdisc", "delete", "dev", LINK, "root"))
            self._in_bridge("tc", "qdisc", "delete", "dev", machine.port, "root")
        self._slow.clear()

    def _others(self, machine: Machine) -> list[Machine]:
        return [other for other in self.machines if other != machine]

    def remove(self) -> None:
        for line in run("ip", "netns", "list").splitlines():
            name = line.split()[0]
            if name.startswith(f"{self._prefix}-"):
                _delete(name)
