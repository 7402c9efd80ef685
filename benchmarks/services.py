"""The servers and clusters that caches need, each started when first asked for. Knows no cache and no worker."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from benchmarks.cluster import Cluster, Host
from benchmarks.places import THREE_HERE, Place
from benchmarks.servers import Redis, Server, memcached, replicated_redis

if TYPE_CHECKING:
    from pathlib import Path


class _Stoppable(Protocol):
    def stop(self) -> None: ...


_Started = TypeVar("_Started", bound=_Stoppable)

SIZE_LIMIT = 256 << 20


class Services:
    """Owns their processes; leaving it ends them."""

    def __init__(
        self, directory: Path, size_limit: int = SIZE_LIMIT, places: tuple[Place, ...] = THREE_HERE
    ) -> None:
        """Take a directory to make, and where the hosts are."""
        directory.mkdir()
        self.directory = directory
        self.size_limit = size_limit
        self.places = places
        self._running = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _keep(self, started: _Started) -> _Started:
        self._running.callback(started.stop)
        return started

    @cached_property
    def redis(self) -> Redis:
        return self._keep(Redis(self.directory))

    @cached_property
    def replicated_redis(self) -> list[Redis]:
        """One on each host; the first is the primary, which the others follow."""
        return [self._keep(server) for server in replicated_redis(self.directory, self.places)]

    @cached_property
    def memcached(self) -> Server:
        return self._keep(memcached())

    @cached_property
    def one_node(self) -> Cluster:
        return self._keep(Cluster(self.directory / "one-node", self.places[:1], self.size_limit))

    @cached_property
    def three_nodes(self) -> Cluster:
        return self._keep(Cluster(self.directory / "three-nodes", self.places, self.size_limit))

    @cached_property
    def leader(self) -> Host:
        """The one of the three hosts that led when it was first asked for."""
        return self.three_nodes.leader()

    @property
    def other(self) -> Host:
        """One of the two that did not lead."""
        return next(host for host in self.three_nodes.hosts if host is not self.leader)

    def leader_changed(self) -> bool:
        return "leader" in self.__dict__ and self.three_nodes.leader() is not self.leader

    @property
    def database(self) -> Path:
        """The SQLite file of DatabaseCache."""
        return self.directory / "database"
