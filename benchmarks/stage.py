"""Everything that runs during a measurement: servers, clusters and workers, started when first asked for."""

from __future__ import annotations

import subprocess
import time
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from benchmarks.backends import BACKENDS
from benchmarks.cluster import DJANGO, Cluster, Host
from benchmarks.crew import Crew
from benchmarks.servers import REPLICAS, Server, memcached, redis_server, replicated

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from benchmarks.scale import Scale

SIZE_LIMIT = 256 << 20


class Stage:
    """Owns all processes of a part of a run; leaving it ends them."""

    def __init__(self, directory: Path, scale: Scale, entries: int, size_limit: int = SIZE_LIMIT) -> None:
        """Take a directory to make, and how many entries each cache holds from the start."""
        directory.mkdir()
        self.directory = directory
        self.scale = scale
        self.entries = entries
        self.size_limit = size_limit
        self._crews: dict[tuple[str, int], Crew] = {}
        self._running = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def another(self, name: str, entries: int, size_limit: int = SIZE_LIMIT) -> Stage:
        """One beside this one, with servers, nodes and workers of its own."""
        return Stage(self.directory / name, self.scale, entries, size_limit)

    def _keep(self, started: Any) -> Any:
        self._running.callback(started.stop)
        return started

    # Servers and nodes

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

    # Workers

    def open_crews(self, names: Iterable[str], size: int = 1) -> None:
        """Start `size` workers for each backend, all at once, and have one of them store the entries."""
        new = [name for name in names if (name, size) not in self._crews]
        for name in new:
            environments = BACKENDS[name].environments(self)
            if name == "database":
                subprocess.run([*DJANGO, "createcachetable"], env=environments[0], check=True)
            self._crews[name, size] = self._keep(Crew(environments, size))
        if size == 1:
            for name in new:
                self.crew(name).ask("fill", entries=self.entries)

    def crew(self, name: str, size: int = 1) -> Crew:
        """The workers of a backend: warm, and there until the end."""
        self.open_crews([name], size)
        return self._crews[name, size]

    def count(self, crew: Crew, do: str, **arguments: Any) -> float:
        """What all workers of `crew` did a second, in the same span of time and after the same warm-up."""
        start = time.monotonic() + self.scale.counting_warm_up_seconds
        end = start + self.scale.counting_seconds
        rates: Sequence[float] = crew.ask(do, start=start, end=end, **arguments)
        return sum(rates)
