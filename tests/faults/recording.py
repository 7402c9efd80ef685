"""Recorder processes on the hosts of a cluster, and the history that they leave."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tests.clusters import PYTHON, ROOT
from tests.faults.cluster import Cluster, Host
from tests.faults.history import History, Operation

KEYS = 8


@dataclass(frozen=True)
class Plan:
    """What one recorder does until it is told to stop."""

    mix: dict[str, int]  # how often each kind of operation, relative to the others
    rate: float  # operations a second
    # Without any: eight that are new in each run, so that nobody reads what an earlier run wrote.
    keys: Sequence[str] = ()
    levels: Sequence[str] = ("quorum", "quorum", "all")
    value_bytes: int = 0


READING = Plan({"get": 1}, rate=150)
WRITING = Plan({"set": 10, "add": 2, "delete": 1, "get": 3}, rate=40)
COUNTING = Plan({"incr": 1}, rate=200, keys=["counter"], levels=["quorum"])


class RecorderProcess:
    """A worker process of a host that records what it does."""

    def __init__(self, host: Host, name: str, directory: Path) -> None:
        self._host = host
        self._name = name
        self._path = directory / f"{name}.jsonl"
        self._runs = 0
        self._process = subprocess.Popen(
            [*PYTHON, "tests.faults.recorder"],
            env=host.environment,
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def _tell(self, line: str) -> None:
        assert self.alive, f"{self._name} has died: {self._process.returncode}"
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _hear(self) -> None:
        line = self._process.stdout.readline()
        assert line, f"{self._name} has died: {self._process.wait(10)}"

    def begin(self, plan: Plan) -> None:
        # Another name for each run: values stay unique in the life of the cluster.
        self._runs += 1
        about = {"process": f"{self._name}.{self._runs}", "host": self._host.addr, "path": str(self._path)}
        self._tell(json.dumps(asdict(plan) | about))
        self._hear()

    def stop(self) -> None:
        self._tell("stop")

    def history(self) -> History:
        """What was done, once the operation that was on its way has ended."""
        self._hear()
        with self._path.open() as lines:
            return [Operation.of_line(line) for line in lines]

    def end(self) -> None:
        self._process.communicate(timeout=10)


class Recorders:
    """The recorders of a cluster: a reader, a writer and more on each host, started once and used for many runs."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self._cluster = cluster
        self._directory = directory
        self._processes: dict[tuple[str, int], RecorderProcess] = {}
        self._runs = 0

    def _process(self, host: Host, number: int) -> RecorderProcess:
        place = (host.addr, number)
        if place not in self._processes or not self._processes[place].alive:
            name = f"{host.location.name}-{number}"
            self._processes[place] = RecorderProcess(host, name, self._directory)
        return self._processes[place]

    def running(self, *plans: Plan, hosts: Sequence[Host] | None = None) -> AbstractContextManager[History]:
        """A recorder for each plan on each host, while the block runs; the list is filled at its end."""
        chosen = hosts or self._cluster.hosts
        return self.running_each(dict.fromkeys(chosen, plans or (READING, WRITING)))

    @contextmanager
    def running_each(self, plans: Mapping[Host, Sequence[Plan]]) -> Iterator[History]:
        """The same, with plans of its own for each host."""
        self._runs += 1
        keys = [f"run{self._runs}-key{number}" for number in range(KEYS)]
        chosen = [
            (self._process(host, number), replace(plan, keys=plan.keys or keys))
            for host, wanted in plans.items()
            for number, plan in enumerate(wanted)
        ]
        history: History = []
        for process, plan in chosen:
            process.begin(plan)
        try:
            yield history
        finally:
            living = [process for process, _ in chosen if process.alive]
            for process in living:
                process.stop()
            for process in living:
                history.extend(process.history())
            history.sort(key=lambda one: one.begin)
            assert len(living) == len(chosen), "a worker has died"

    def end(self) -> None:
        for process in self._processes.values():
            process.end()
