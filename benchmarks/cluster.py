"""Clusters of django_hacache: real node processes, one "host" being a directory and an address."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.places import Site
from benchmarks.subprocesses import free_port, stop, wait_until
from django_hacache.replica.control import ControlPage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.places import Place

BACKEND = "django_hacache.cache.HACache"
TIMEOUT_S = 24 * 3600
DJANGO = [sys.executable, "-m", "django"]


def cache_settings(location: Path, size_limit: int, **options: Any) -> dict[str, Any]:
    """CACHES["default"] for a replica in `location`; `options` are further ones."""
    return {
        "BACKEND": BACKEND,
        "LOCATION": str(location),
        "TIMEOUT": TIMEOUT_S,
        "OPTIONS": {"SIZE_LIMIT": size_limit, **options},
    }


def site_environment(caches: Mapping[str, Any]) -> dict[str, str]:
    """The environment of a Django process whose CACHES["default"] is `caches`."""
    # As on a site, bytecode is compiled once, whatever the developer's shell says.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {
        **inherited,
        "DJANGO_SETTINGS_MODULE": "benchmarks.site.settings",
        "BENCHMARK_CACHE": json.dumps(caches),
    }


class Host:
    """One node, and the site beside it."""

    def __init__(self, directory: Path, place: Place, addr: str, addrs: list[str], size_limit: int) -> None:
        self.addr = addr
        self.location = directory / f"host-{addr.replace(':', '-')}"
        environment = site_environment(cache_settings(self.location, size_limit)) | {
            "HA_MODE": "true",
            "HA_HOSTS": ",".join(f"http://{one}" for one in addrs),
            "HOSTNAME_OVERWRITE": addr,
            "CACHE_TLS": "false",
            "CACHE_AUTH_TOKEN": "a token for benchmarks, long enough for no warning",
        }
        self.site = Site(environment, place)
        self.log = directory / f"{self.location.name}.log"
        with self.log.open("wb") as log:
            self.node = subprocess.Popen(
                place.command(*DJANGO, "hacache_node"), env=environment, stderr=log, start_new_session=True
            )

    def wait(self) -> None:
        """Wait until the node knows a leader and lets its host read."""
        wait_until(self._serves, self.node, f"the node at {self.addr} (its log: {self.log})")

    def _serves(self) -> bool:
        page = ControlPage.open(self.location)
        if page is None:
            return False
        try:
            return page.writable() and page.holds(page.epoch)
        finally:
            page.close()

    def status(self) -> dict[str, Any]:
        """What `hacache_status` tells on this host."""
        command = [*DJANGO, "hacache_status", "--json"]
        ran = subprocess.run(command, env=self.site.environment, stdout=subprocess.PIPE, check=True)
        found: dict[str, Any] = json.loads(ran.stdout)
        return found


class Cluster:
    """A host at each place, which all serve."""

    def __init__(self, directory: Path, places: Sequence[Place], size_limit: int = 256 << 20) -> None:
        directory.mkdir()
        addrs = [f"{place.ip}:{free_port()}" for place in places]
        self.hosts: list[Host] = []
        try:
            self.hosts += [
                Host(directory, place, addr, addrs, size_limit)
                for place, addr in zip(places, addrs, strict=True)
            ]
            for host in self.hosts:
                host.wait()
        except BaseException:
            self.stop()
            raise

    def leader(self) -> Host:
        """The host that leads now."""
        addr = self.hosts[0].status()["leader"]["addr"]
        return next(host for host in self.hosts if host.addr == addr)

    def lost_writes(self) -> int:
        """How many writes at level direct were lost so far, as far as the nodes have been told."""
        told = [(host.addr, host.status()["hosts"]) for host in self.hosts]
        return sum(one["lost_writes"] for addr, hosts in told for one in hosts if one["addr"] == addr)

    def stop(self) -> None:
        for host in self.hosts:
            stop(host.node)
