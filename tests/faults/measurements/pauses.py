"""Nodes that stand still for a while."""

from __future__ import annotations

import signal
import time

from tests.faults.cluster import Cluster
from tests.faults.measurements.rows import Row, ms, times
from tests.faults.recording import Recorders


def frozen_all(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
    waits = []
    for number in range(times(10, scale)):
        leader = cluster.leader()
        frozen, other = cluster.others(leader)
        frozen.signal(signal.SIGSTOP)
        begin = time.monotonic()
        other.worker.set("probe", number, ack="all")
        waits.append(time.monotonic() - begin)
        frozen.signal(signal.SIGCONT)
        cluster.repair()
    what = f'a write with `ack="all"` while a follower is frozen, {len(waits)} times: longest wait'
    return [Row(what, "succeeds once its lease of 1 s has run out", ms(max(waits)), True)]
