"""Leaders that die, freeze or are cut off: how long nobody can write."""

from __future__ import annotations

import signal
import statistics
import time
from collections.abc import Callable, Sequence

from tests.faults.cluster import Cluster, Host
from tests.faults.history import History
from tests.faults.judge import assert_consistent, lasting, writes
from tests.faults.measurements.rows import ELECTION_TIMEOUT_S, SECOND, STEADY, Row, ms, times
from tests.faults.recording import READING, Recorders


def longest_silence(history: History, begin_ns: int) -> float:
    """The longest time (s) without an acknowledged write from `begin_ns` on, when the recording ended with some."""
    ends = sorted(one.end for one in writes(history) if one.outcome == "ok" and one.end > begin_ns)
    assert ends, "no write was acknowledged any more"
    return max(later - earlier for earlier, later in zip([begin_ns, *ends], ends, strict=False)) / SECOND


def gaps(cluster: Cluster, recorders: Recorders, count: int, strike: Callable[[Host], object]) -> list[float]:
    """How long no host of the others could write, each time that `strike` hit the leader."""
    found = []
    for _ in range(count):
        leader = cluster.leader()
        others = cluster.others(leader)
        with recorders.running(STEADY, READING, hosts=others) as history:
            lasting(0.5)
            begin = time.monotonic_ns()
            strike(leader)
            new = cluster.leader(others)
            new.worker.set("after", 1)
            lasting(0.5)
        cluster.repair()
        assert_consistent(cluster, history)
        found.append(longest_silence(history, begin))
    return found


def kill(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
    found = gaps(cluster, recorders, times(20, scale), lambda leader: leader.signal(signal.SIGKILL))
    what = f"longest time without an acknowledged write after `kill -9` of the leader, {len(found)} times"
    median, worst = statistics.median(found), max(found)
    return [
        Row(f"{what}: median", "500 ms", ms(median), median <= 0.5),
        Row(f"{what}: worst", "1,500 ms", ms(worst), worst <= 1.5),
    ]


def _within_two_timeouts(what: str, found: Sequence[float]) -> list[Row]:
    worst, limit = max(found), 2 * ELECTION_TIMEOUT_S
    text = f"the same after {what} of the leader, {len(found)} times: worst (median {ms(statistics.median(found))})"
    return [Row(text, "4,000 ms, two election timeouts", ms(worst), worst <= limit)]


def stop(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
    found = gaps(cluster, recorders, times(10, scale), lambda leader: leader.signal(signal.SIGSTOP))
    return _within_two_timeouts("SIGSTOP", found)


def partition(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
    network = cluster.network
    cut = gaps(cluster, recorders, times(10, scale), lambda leader: network.isolate(leader.machine))
    deaf = gaps(cluster, recorders, times(10, scale), lambda leader: network.deafen(leader.machine))
    return [
        *_within_two_timeouts("silent isolation", cut),
        *_within_two_timeouts("deafness (it sends, and hears nothing)", deaf),
    ]
