"""State that reaches a host which has nothing, while the others go on writing."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tests.faults.cluster import Cluster, Host, monotonic_ns
from tests.faults.judge import failed, lasting, lost_entries
from tests.faults.measurements.rows import (
    ELECTION_TIMEOUT_S,
    SECOND,
    STEADY,
    Row,
    grown,
    ms,
    none,
    p99,
    ratio,
)
from tests.faults.recording import Recorders
from tests.waiting import eventually

STATE_BYTES = 1_000_000_000
VALUE_BYTES = 10_000
LARGE = {"HACACHE_TEST_SIZE_LIMIT": str(3 * STATE_BYTES)}
PATIENCE_S = 240
SENT = re.compile(r"^(\S+) INFO \S+ has the snapshot: (\d+) bytes in (\S+) s", re.MULTILINE)


def snapshot(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
    count = max(int(STATE_BYTES * scale) // VALUE_BYTES, 1000)
    leader = cluster.leader()
    joiner, other = cluster.others(leader)
    lose_everything(joiner)
    other.worker.store("state", count, VALUE_BYTES)
    with recorders.running(STEADY, hosts=[leader, other]) as calm:
        lasting(max(20 * scale, 3))
    changes = len(cluster.leaderships())
    with recorders.running(STEADY, hosts=[leader, other]) as history, peak_memory(leader) as growth:
        joiner.start()
        eventually(joiner.serves, PATIENCE_S)
    changes = len(cluster.leaderships()) - changes
    begin_ns, end_ns, size, seconds = last_transfer(leader)
    meanwhile = [one for one in history if begin_ns < one.end and one.begin < end_ns]
    gone = lost_entries(cluster, history) + failed(history)
    wrong = lacking(joiner, count)
    speed = size / 1e6 / seconds
    what = f"a host without state joins: {count:,} values of {VALUE_BYTES:,} bytes, {size / 1e6:,.0f} MB"
    waits = f"{ms(p99(calm))}, then {ms(p99(meanwhile))}"
    return [
        Row(f"{what}: transfer", "100 MB/s", f"{speed:.0f} MB/s ({seconds:.1f} s)", speed >= 100),
        grown(f"{what}: growth of the leader's own memory", max(growth)),
        ratio(
            f"{what}: p99 of the others' writes against that without ({waits})", 2, p99(meanwhile) / p99(calm)
        ),
        none(f"{what}: leader changes", changes),
        none(f"{what}: writes of the others that failed or were lost meanwhile", len(gone)),
        none(f"{what}: values that it lacks when it serves", wrong),
        *broken_off(cluster, count),
    ]


def lose_everything(host: Host) -> None:
    host.signal(signal.SIGKILL)
    host.wipe()


@contextmanager
def peak_memory(host: Host) -> Iterator[list[int]]:
    """By how much the node's own memory has grown since the beginning, sampled all the time."""
    before, over = host.memory_bytes(), threading.Event()
    samples = [0]

    def sample() -> None:
        while not over.wait(0.02):
            samples.append(host.memory_bytes() - before)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield samples
    finally:
        over.set()
        sampler.join()


def lacking(joiner: Host, count: int) -> int:
    """How many of the values the host does not serve."""
    # Workers find with their first read that the directory is another one; that read is a miss.
    joiner.worker.has_key("state0")
    return joiner.worker.differing("state", count, VALUE_BYTES)


class Transfer(NamedTuple):
    """One that was completed; times are of time.monotonic_ns()."""

    begin_ns: int
    end_ns: int
    size: int
    seconds: float


def last_transfer(leader: Host) -> Transfer:
    end, size, seconds = SENT.findall(leader.log.read_text())[-1]
    end_ns = monotonic_ns(end)
    return Transfer(end_ns - int(float(seconds) * SECOND), end_ns, int(size), float(seconds))


def received_percent(host: Host) -> int:
    """How much of a snapshot has come."""
    return max((one.percent for one in host.transfers() if one.incoming), default=0)


def broken_off(cluster: Cluster, count: int) -> Iterator[Row]:
    """Transfers that end in the middle: nothing is left to be done by hand."""
    leader = cluster.leader()
    joiner = cluster.others(leader)[0]
    network = cluster.network
    breaks = {
        "`kill -9` of the joiner": (lambda: joiner.signal(signal.SIGKILL), joiner.start),
        "a cut of its link": (lambda: network.isolate(joiner.machine), network.heal),
    }
    for what, (strike, mend) in breaks.items():
        joins_until_the_middle(joiner)
        strike()
        eventually(lambda: not leader.transfers(), PATIENCE_S)
        mend()
        eventually(joiner.serves, PATIENCE_S)
        wrong = lacking(joiner, count)
        yield none(f"a transfer broken off by {what}: values that it lacks when it serves", wrong)
    joins_until_the_middle(joiner)
    elected = len(cluster.leaderships())
    leader.signal(signal.SIGKILL)
    lasting(3 * ELECTION_TIMEOUT_S)
    elected = len(cluster.leaderships()) - elected
    yield none(
        "the leader killed in the middle of a transfer: leaders that the joiner elects meanwhile", elected
    )
    leader.start()
    eventually(lambda: all(host.serves() for host in cluster.hosts), PATIENCE_S)
    wrong = lacking(joiner, count)
    yield none("the same, and it comes back: values that the joiner lacks when it serves", wrong)


def joins_until_the_middle(joiner: Host) -> None:
    lose_everything(joiner)
    joiner.start()
    eventually(lambda: received_percent(joiner) >= 30, PATIENCE_S)
