"""The servers and clusters that caches need, each started when first asked for. Knows no cache and no worker."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from benchmarks.cluster import Cluster, Host
from benchmarks.servers import REPLICAS, Server, memcached, redis_server, replicated

if TYPE_CHECKING:
    from pathlib import Path


class _Stoppable(Protocol):
    def stop(self) -> None: ...


_Started = TypeVar("_Started", bound=_Stoppable)

SIZE_LIMIT = 256 << 20


class Services:
    """Owns their processes; leaving it ends them."""

    def __init__(self, directory: Path, size_limit: int = SIZE_LIMIT) -> None:
        """Take a directory to make."""
        directory.mkdir()
        self.directory = directory
        self.size_limit = size_limit
        self._running = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _keep(self, started: _Started) -> _Started:
        self._running.callback(started.stop)
        return started

    @cached_property
    def redis(self) -> Server:
        return self._keep(redis_server(self.directory))

    @cached_property
    def redis_primary(self) -> Server:
        """A Redis with replicas that all follow it."""
        primary = self._keep(redis_server(self.directory))
        replicas = [self._keep(redis_server(self.directory, primary)) for _ in range(REPLICAS)]
        replicated(primary, replicas)
        return primary

    @cached_property
    def memcached(self) -> Server:
        return self._keep(memcached())

    @cached_property
    def one_node(self) -> Cluster:
        return self._keep(Cluster(self.directory / "one-node", 1, self.size_limit))

    @cached_property
    def three_nodes(self) -> Cluster:
        return self._keep(Cluster(self.directory / "three-nodes", 3, self.size_limit))

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
