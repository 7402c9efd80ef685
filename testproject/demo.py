"""The demo: three hosts on one machine, each with a node, a web process and a replica directory of its own.

Starts the processes, says how to reach and how to hurt them, reports each that ends, and stops all of them on
Ctrl-C. `make demo` runs it.
"""

from __future__ import annotations

import argparse
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
STATE = Path(os.environ.get("DEMO_STATE", ROOT / ".demo"))
MANAGE = [sys.executable, str(ROOT / "manage.py")]
HOSTS = 3
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PASSWORD = "demo"
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 10
POLL_S = 0.3

HELP = """\
  kill 2      kill -9 the node of host 2        start 2     start it again
  freeze 2    stop it without killing it        thaw 2      let it go on
  status      the cluster as its nodes see it   Ctrl-C      stop everything"""


class DemoError(Exception):
    """The demo cannot start or go on; the message says why."""


@dataclass(slots=True)
class Host:
    """One simulated host. `node` and `web` are its processes once they are started."""

    number: int
    web_port: int
    node_port: int
    environment: dict[str, str]
    node: subprocess.Popen[bytes] | None = None
    web: subprocess.Popen[bytes] | None = None
    reported: set[int] = field(default_factory=set)

    @property
    def name(self) -> str:
        return f"host {self.number}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.web_port}/"

    def log(self, process: str) -> Path:
        return STATE / f"{process}{self.number}.log"

    def start_node(self) -> None:
        location = self.environment["HACACHE_LOCATION"]
        address = f"127.0.0.1:{self.node_port}"
        self.node = self._spawn("node", ["hacache_node", "--addr", address, "--location", location])

    def start_web(self) -> None:
        self.web = self._spawn("web", ["runserver", "--noreload", f"127.0.0.1:{self.web_port}"])

    def _spawn(self, process: str, arguments: list[str]) -> subprocess.Popen[bytes]:
        with self.log(process).open("ab") as log:
            # A session of its own: Ctrl-C in the terminal reaches this supervisor only, which ends it.
            return subprocess.Popen(
                [*MANAGE, *arguments],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def children(self) -> list[tuple[str, subprocess.Popen[bytes]]]:
        found = [("web", self.web), ("node", self.node)]
        return [(process, child) for process, child in found if child is not None]


def main() -> None:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__.splitlines()[0])
    parser.add_argument("--web-port", type=int, default=8001, help="the first of three ports of the sites")
    parser.add_argument("--node-port", type=int, default=7001, help="the first of three ports of the nodes")
    arguments = parser.parse_args()
    # SIGINT too: a script that starts this in the background has it ignored.
    for number in SIGNALS:
        signal.signal(number, interrupt)
    # Replicas belong into memory; a container without /dev/shm has the temporary directory.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
    replicas = Path(tempfile.mkdtemp(prefix="hacache-demo-", dir=memory))
    hosts: list[Host] = []
    try:
        check_ports(arguments.web_port, arguments.node_port)
        hosts = make_hosts(arguments.web_port, arguments.node_port, replicas)
        start(hosts)
        introduce(hosts)
        supervise(hosts)
    except KeyboardInterrupt:
        print("\nStopping ...", flush=True)
    except DemoError as error:
        sys.exit(f"demo: {error}")
    finally:
        stop(hosts)
        shutil.rmtree(replicas, ignore_errors=True)
    print("Stopped.")


def interrupt(number: int, frame: FrameType | None) -> None:
    for one in SIGNALS:
        signal.signal(one, signal.SIG_IGN)  # one is enough: a second must not end the clearing up
    raise KeyboardInterrupt


def check_ports(web_port: int, node_port: int) -> None:
    """Refuse to start where a port is taken, before anything else happens."""
    for option, first in (("WEB_PORT", web_port), ("NODE_PORT", node_port)):
        for port in range(first, first + HOSTS):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as error:
                    raise DemoError(
                        f"port {port} cannot be used ({error.strerror}). "
                        f"Choose others: make demo {option}={first + 1000}"
                    ) from error


def make_hosts(web_port: int, node_port: int, replicas: Path) -> list[Host]:
    """Describe three hosts whose environments differ only in who they are and where their replica lies."""
    addresses = [f"127.0.0.1:{node_port + index}" for index in range(HOSTS)]
    cluster = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "testproject.settings",
        "PYTHONUNBUFFERED": "1",
        "DEMO_DATABASE": str(STATE / "site.sqlite3"),
        "HA_MODE": "true",
        "HA_HOSTS": ", ".join(f"http://{address}" for address in addresses),
        "CACHE_TLS": "false",
        "CACHE_AUTH_TOKEN": secrets.token_urlsafe(32),
    }
    hosts = []
    for index, address in enumerate(addresses):
        own = {
            "HOSTNAME_OVERWRITE": address,
            "HACACHE_LOCATION": str(replicas / f"host{index + 1}"),
            "DEMO_HOST": f"host {index + 1}",
        }
        hosts.append(Host(index + 1, web_port + index, node_port + index, cluster | own))
    return hosts


def start(hosts: list[Host]) -> None:
    """Make the database, start every process and wait until all sites answer and the nodes have a leader."""
    STATE.mkdir(exist_ok=True)
    for log in STATE.glob("*.log"):
        log.unlink()
    print("Making the database ...", flush=True)
    make_demo = [*MANAGE, "make_demo", "--password", PASSWORD]
    if subprocess.run(make_demo, cwd=ROOT, env=hosts[0].environment, check=False).returncode:
        raise DemoError("the database could not be made; the lines above say why")
    print("Starting three nodes and three web processes ...", flush=True)
    for host in hosts:
        host.start_node()
        host.start_web()
    deadline = time.monotonic() + START_TIMEOUT_S
    for host in hosts:
        wait_for_site(host, deadline)
    wait_for_quorum(hosts[0], deadline)


def wait_for_site(host: Host, deadline: float) -> None:
    while True:
        for process, child in host.children():
            if child.poll() is not None:
                complaint = f"the {process} process of {host.name} {ended(child)}"
                raise DemoError(f"{complaint}:\n{tail(host.log(process))}")
        try:
            socket.create_connection(("127.0.0.1", host.web_port), timeout=1).close()
        except OSError:
            pause(deadline, f"{host.name} does not answer; its log is {host.log('web')}")
        else:
            return


def wait_for_quorum(host: Host, deadline: float) -> None:
    while status(host, quiet=True):
        pause(deadline, f"the nodes find no leader; the log of the first one is {host.log('node')}")


def pause(deadline: float, complaint: str) -> None:
    if time.monotonic() > deadline:
        raise DemoError(f"{complaint} (waited {START_TIMEOUT_S} seconds)")
    time.sleep(POLL_S)


def status(host: Host, *, quiet: bool) -> int:
    """Run `manage.py hacache_status` on a host; 0 with a quorum."""
    output = subprocess.DEVNULL if quiet else None
    command = [*MANAGE, "hacache_status"]
    return subprocess.run(
        command, cwd=ROOT, env=host.environment, stdout=output, stderr=output, check=False
    ).returncode


def introduce(hosts: list[Host]) -> None:
    print()
    for host in hosts:
        assert host.node is not None
        print(f"  {host.name}   {host.url}   its node: process {host.node.pid}, port {host.node_port}")
    print(f"\n  Log in at {hosts[0].url}login/ as admin, password {PASSWORD}; one login counts on all three.")
    print(f"  The cluster in the admin: {hosts[0].url}admin/")
    print(f"  Logs: {STATE}/")
    print("\nClick through the sites, then hurt a node: kill -9 its process, or type here, with Enter:\n")
    print(HELP, flush=True)


def supervise(hosts: list[Host]) -> None:
    """Report each process that ends and obey what is typed, until Ctrl-C."""
    listening = True
    while True:
        report_ended(hosts)
        if not listening:
            time.sleep(POLL_S)
        elif select.select([sys.stdin], [], [], POLL_S)[0]:
            line = sys.stdin.readline()
            listening = bool(line)
            if line.strip():
                obey(line.split(), hosts)


def report_ended(hosts: list[Host]) -> None:
    for host in hosts:
        for process, child in host.children():
            if child.poll() is not None and child.pid not in host.reported:
                host.reported.add(child.pid)
                print(f"The {process} process {child.pid} of {host.name} {ended(child)}.", flush=True)
                if process == "node":
                    print(f"  The others go on. `start {host.number}` starts it again.", flush=True)


def obey(words: list[str], hosts: list[Host]) -> None:
    """Do what was typed: `kill 2`, `freeze 2`, `thaw 2`, `start 2` or `status`."""
    signals = {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP, "thaw": signal.SIGCONT}
    numbers = {str(host.number): host for host in hosts}
    match words:
        case ["status"]:
            running = [host for host in hosts if host.node is not None and host.node.poll() is None]
            status((running or hosts)[0], quiet=False)
        case [("kill" | "freeze" | "thaw") as verb, number] if number in numbers:
            node = numbers[number].node
            assert node is not None
            if node.poll() is None:
                node.send_signal(signals[verb])
            else:
                print(f"The node of host {number} does not run. `start {number}` starts it.", flush=True)
        case ["start", number] if number in numbers:
            host = numbers[number]
            if host.node is not None and host.node.poll() is None:
                print(f"The node of {host.name} runs already: process {host.node.pid}.", flush=True)
            else:
                host.start_node()
                assert host.node is not None
                print(f"The node of {host.name} is process {host.node.pid} now.", flush=True)
        case _:
            print(HELP, flush=True)


def ended(child: subprocess.Popen[bytes]) -> str:
    code = child.returncode
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def tail(log: Path) -> str:
    return "\n".join("    " + line for line in log.read_text(errors="replace").splitlines()[-12:])


def stop(hosts: list[Host]) -> None:
    """End every process: politely, and after some seconds not so. The sites go first: they use the nodes."""
    # A second Ctrl-C must not leave processes behind.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("web", "node"):
        running = [child for host in hosts for process, child in host.children() if process == name]
        for child in running:
            if child.poll() is None:
                child.terminate()
                child.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for child in running:
            try:
                child.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


if __name__ == "__main__":
    main()
