"""Random faults one after the other, from seeds, while everybody works; judged at the end."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.cluster import Cluster, Host
from tests.faults.consistency import violations
from tests.faults.judge import acknowledged_within, at_leader, lasting, lost_entries, writes
from tests.faults.measurements.rows import MIB, Row, grown, none, percent, times
from tests.faults.recording import READING, WRITING, Recorders

CALM_S = 2.0
GROWTH = 16 * MIB
RUN_S = 60


@dataclass(frozen=True)
class Usage:
    """What a node holds."""

    memory: int
    files: int


class Nemesis:
    """Strikes until its time is over; what it does follows from its seed."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self._cluster = cluster
        self._random = random.Random(seed)
        self.left_s = 0.0
        self._kinds: dict[Callable[[Host], None], int] = {
            self._kill: 3,
            self._terminate: 2,
            self._stop: 3,
            self._isolate: 2,
            self._one_way: 2,
            self._lose: 2,
            self._flap: 1,
            self._slow: 1,
        }
        self.strikes = 0

    def strike_for(self, seconds: float) -> None:
        self.left_s = seconds
        while self.left_s > 0:
            kind = self._random.choices(list(self._kinds), list(self._kinds.values()))[0]
            kind(self._random.choice(self._cluster.hosts))
            self.strikes += 1
            self._cluster.network.heal()
            self._last(self._random.uniform(0.1, CALM_S))

    def _last(self, seconds: float) -> None:
        """Time passes: short ones, ones about as long as a lease, and ones past an election."""
        lasting(seconds)
        self.left_s -= seconds

    def _while(self) -> None:
        self._last(self._random.choice((0.2, 1.0, 5.0)) * self._random.uniform(0.5, 1.5))

    def _kill(self, host: Host) -> None:
        host.signal(signal.SIGKILL)
        self._while()
        host.start()

    def _terminate(self, host: Host) -> None:
        host.signal(signal.SIGTERM)
        host.start()
        self._while()

    def _stop(self, host: Host) -> None:
        host.signal(signal.SIGSTOP)
        self._while()
        host.signal(signal.SIGCONT)

    def _isolate(self, host: Host) -> None:
        self._cluster.network.isolate(host.machine)
        self._while()

    def _one_way(self, host: Host) -> None:
        network = self._cluster.network
        self._random.choice((network.deafen, network.silence))(host.machine)
        self._while()

    def _lose(self, _: Host) -> None:
        self._cluster.network.lose(self._random.uniform(0.02, 0.2))
        self._while()

    def _flap(self, host: Host) -> None:
        for _ in range(4):
            self._cluster.network.isolate(host.machine)
            self._last(self._random.uniform(0.1, 1))
            self._cluster.network.heal()
            self._last(self._random.uniform(0.1, 1))

    def _slow(self, host: Host) -> None:
        self._cluster.network.slow_down(host.machine)
        self._while()


def usages(cluster: Cluster) -> list[Usage]:
    return [Usage(host.memory_bytes(), host.open_files()) for host in cluster.hosts]


def soak(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
    seeds = range(1, times(5, scale) + 1)
    strikes = wrong = gone = operations = 0
    shares: list[float] = []
    with recorders.running():
        lasting(CALM_S)
    cluster.repair()
    before = after = usages(cluster)
    for seed in seeds:
        nemesis = Nemesis(cluster, seed)
        with recorders.running(READING, WRITING) as history:
            nemesis.strike_for(RUN_S * min(scale * 5, 1))
            cluster.repair()
            lasting(CALM_S)
        wrong += len(violations(history, leader_reads=at_leader(cluster.leaderships())))
        gone += len(lost_entries(cluster, history))
        strikes, operations = strikes + nemesis.strikes, operations + len(history)
        shares.append(acknowledged_within(writes(history), 5.0))
        after = usages(cluster)
    memory = max(one.memory for one in after) - max(one.memory for one in before)
    files = max(one.files for one in after) - max(one.files for one in before)
    what = f"{strikes} random faults from the seeds {seeds[0]} to {seeds[-1]}"
    return [
        none(
            f"{what}: broken promises in {operations:,} operations ({percent(min(shares))} of the writes, at least, "
            "answered within 5 s, also of hosts that are down)",
            wrong,
        ),
        none(f"{what}: acknowledged entries that were lost", gone),
        grown(f"{what}: growth of the own memory of the largest node", memory, GROWTH),
        none(f"{what}: growth of the open files of the node with the most", max(files, 0)),
    ]
