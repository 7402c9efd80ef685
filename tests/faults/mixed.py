"""One run through many faults, for the picture: what happens to leader, health and writes when."""

from __future__ import annotations

import signal
import time
from typing import NamedTuple

from tests.faults.cluster import Cluster, Leadership
from tests.faults.history import History
from tests.faults.judge import assert_kept_its_promises, lasting
from tests.faults.observer import Band, Observer, Sample
from tests.faults.recording import Recorders

CALM_S = 4.0


class Run(NamedTuple):
    """Everything that the picture shows. Times are of time.monotonic_ns()."""

    begin_ns: int
    end_ns: int
    addrs: list[str]
    leaderships: list[Leadership]
    samples: list[Sample]
    bands: list[Band]
    history: History


def run(cluster: Cluster, recorders: Recorders) -> Run:
    observer = Observer(cluster)
    with recorders.running() as history, observer.watching():
        begin = time.monotonic_ns()
        lasting(CALM_S)
        _faults(cluster, observer)
        cluster.repair()
        lasting(CALM_S)
        end = time.monotonic_ns()
    assert_kept_its_promises(cluster, history)
    addrs = [host.addr for host in cluster.hosts]
    return Run(begin, end, addrs, cluster.leaderships(), observer.samples, observer.bands, history)


def _faults(cluster: Cluster, observer: Observer) -> None:
    network = cluster.network
    leader = cluster.leader()
    with observer.fault("kill -9 leader"):
        leader.signal(signal.SIGKILL)
        cluster.leader(cluster.others(leader))
        lasting(CALM_S)
        leader.start()
        cluster.wait()
    lasting(CALM_S)
    leader = cluster.leader()
    with observer.fault("freeze leader"):
        leader.signal(signal.SIGSTOP)
        lasting(8)
        leader.signal(signal.SIGCONT)
    lasting(CALM_S)
    follower = cluster.others(cluster.leader())[0]
    with observer.fault("cut off a follower"):
        network.isolate(follower.machine)
        lasting(8)
        network.heal()
    lasting(CALM_S)
    with observer.fault("10 % loss"):
        network.lose(0.1)
        lasting(12)
        network.heal()
    lasting(CALM_S)
    with observer.fault("cut off the leader"):
        network.isolate(cluster.leader().machine)
        lasting(8)
        network.heal()
    lasting(CALM_S)
    leader = cluster.leader()
    with observer.fault("SIGTERM leader"):
        leader.signal(signal.SIGTERM)
        leader.start()
        cluster.wait()
