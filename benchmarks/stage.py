"""Everything that runs during a measurement: servers, clusters, and the workers that use them."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING, Any

from benchmarks.backends import BACKENDS
from benchmarks.cluster import DJANGO
from benchmarks.crew import Crew
from benchmarks.places import THREE_HERE
from benchmarks.services import SIZE_LIMIT, Services

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from benchmarks.places import Place
    from benchmarks.scale import Scale


class Stage(Services):
    """Owns all processes of a part of a run; leaving it ends them."""

    def __init__(
        self,
        directory: Path,
        scale: Scale,
        entries: int,
        size_limit: int = SIZE_LIMIT,
        places: tuple[Place, ...] = THREE_HERE,
    ) -> None:
        """Take a directory to make, and how many entries each cache holds from the start."""
        super().__init__(directory, size_limit, places)
        self.scale = scale
        self.entries = entries
        self._crews: dict[tuple[str, int], Crew] = {}

    def another(
        self,
        name: str,
        entries: int,
        size_limit: int = SIZE_LIMIT,
        places: tuple[Place, ...] = THREE_HERE,
    ) -> Stage:
        """One beside this one, with servers, nodes and workers of its own."""
        return Stage(self.directory / name, self.scale, entries, size_limit, places)

    def open_crews(self, names: Iterable[str], size: int = 1) -> None:
        """Start `size` workers for each backend, all at once, and have one of them store the entries."""
        new = [name for name in names if (name, size) not in self._crews]
        for name in new:
            sites = BACKENDS[name].sites(self)
            if name == "database":
                subprocess.run([*DJANGO, "createcachetable"], env=sites[0].environment, check=True)
            self._crews[name, size] = self._keep(Crew(sites, size))
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

    def time_together(self, crew: Crew, **arguments: Any) -> tuple[float, list[int]]:
        """The same for calls whose times are wanted, too: their nanoseconds, of all workers."""
        start = time.monotonic() + self.scale.counting_warm_up_seconds
        end = start + self.scale.counting_seconds
        answers = crew.ask("time_together", start=start, end=end, **arguments)
        return sum(one["rate"] for one in answers), [taken for one in answers for taken in one["taken"]]
