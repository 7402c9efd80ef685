"""Clusters of real node processes on this machine, and a real worker process on each host."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from django_hacache import status
from django_hacache.replica.control import ControlPage
from tests.node_process import TOKEN, free_port
from tests.waiting import eventually

ROOT = Path(__file__).parent.parent
PYTHON = [sys.executable, "-m"]


class Worker:
    """A web worker process; its methods are those of its cache."""

    def __init__(self, environment):
        self.process = subprocess.Popen(
            [*PYTHON, "tests.cluster.worker"],
            env=environment,
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def begin(self, method, *args, alias="default", **kwargs):
        call = {"alias": alias, "method": method, "args": args, "kwargs": kwargs}
        self.process.stdin.write(json.dumps(call) + "\n")
        self.process.stdin.flush()

    def end(self):
        """The answer to what was begun; the names of an exception's classes raise it again as Failed."""
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise Failed(answer["error"], answer["says"])
        return answer["answer"]

    def __getattr__(self, method):
        def call(*args, **kwargs):
            self.begin(method, *args, **kwargs)
            return self.end()

        return call

    def stop(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(10)


class Failed(Exception):
    """What the worker raised: the names of its class and that class's bases, and its message."""

    def __init__(self, kinds, says):
        super().__init__(f"{kinds[0]}: {says}")
        self.kinds = kinds
        self.says = says


class Host:
    """One host: a directory, a node and a worker."""

    def __init__(self, directory, addr, addrs, scheme, extra):
        self.addr = addr
        self.location = directory / f"host-{addr.rpartition(':')[2]}"
        self.log = directory / f"{self.location.name}.log"
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.cluster.site",
            "HACACHE_TEST_LOCATION": str(self.location),
            "HA_MODE": "true",
            "HA_HOSTS": ",".join(f"{scheme}://{one}" for one in addrs),
            "HOSTNAME_OVERWRITE": addr,
            "CACHE_TLS": "false",
            "CACHE_AUTH_TOKEN": TOKEN,
            "CACHE_ELECTION_TIMEOUT": "1",
            **extra,
        }
        self.node = None
        self._worker = None

    @property
    def worker(self):
        if self._worker is None:
            self._worker = Worker(self.environment)
        return self._worker

    def start(self):
        with self.log.open("ab") as log:
            command = [*PYTHON, "django", "hacache_node"]
            self.node = subprocess.Popen(command, env=self.environment, cwd=ROOT, stderr=log)

    def signal(self, number):
        self.node.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            return self.node.wait(15)
        return None

    def wipe(self):
        shutil.rmtree(self.location)

    def status(self):
        # Not read_status: the settings of this process are not those of the cluster.
        return status.ask_node(self.location, 5)

    def serves(self):
        page = ControlPage.open(self.location)
        if page is None:
            return False
        try:
            return page.writable() and page.holds(page.epoch)
        finally:
            page.close()

    def tell(self):
        """What an operator would look at when something is wrong."""
        try:
            seen = self.status()
        except OSError as error:
            seen = error
        return f"{self.addr} serves: {self.serves()}, exit code: {self.node.poll()}, {seen}\n{self.log.read_text()}"

    def stop(self):
        if self._worker is not None:
            self._worker.stop()
        if self.node is not None and self.node.poll() is None:
            self.node.kill()
            self.node.wait()


class Cluster:
    def __init__(self, directory, size, scheme="http", extra=None):
        addrs = [f"127.0.0.1:{free_port()}" for _ in range(size)]
        self.hosts = [Host(directory, addr, addrs, scheme, extra or {}) for addr in addrs]

    def start(self):
        for host in self.hosts:
            host.start()
        self.wait()
        return self

    def wait(self, hosts=None):
        wanted = hosts or self.hosts
        try:
            eventually(lambda: all(host.serves() for host in wanted), 40)
        except AssertionError as error:
            told = "\n".join(host.tell() for host in self.hosts)
            raise AssertionError(f"not all of {[host.addr for host in wanted]} serve\n{told}") from error

    def leader(self, among=None):
        """The host that leads, as the ones asked see it."""

        def found():
            # A leader is one that its own node calls so.
            for host in among or self.hosts:
                status = host.status()
                own = next((one for one in status.hosts if one.addr == host.addr), None)
                if own is not None and own.role == "leader":
                    return host
            return None

        return eventually(found)

    def others(self, *hosts):
        return [host for host in self.hosts if host not in hosts]

    def stop(self):
        for host in self.hosts:
            host.stop()
