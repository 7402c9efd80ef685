"""A host that has nothing joins over links of all speeds, while the others write a quarter of what its link takes."""

from __future__ import annotations

import time

from tests.faults.cluster import Cluster, Host
from tests.faults.judge import failed, lasting, lost_entries
from tests.faults.measurements.rows import MIB, Measure, Row, grown, none
from tests.faults.measurements.transfers import lacking, lose_everything
from tests.faults.recording import Plan, Recorders
from tests.waiting import eventually

# As it is by default.
LIMITED = {"HACACHE_TEST_SIZE_LIMIT": str(256 * MIB)}
VALUE_BYTES = 10_000
MBIT = 125_000  # bytes a second
# Within size / bandwidth times this, and some seconds, the host serves.
FACTOR, SECONDS = 1.5, 5.0
# What the leader's file may grow by meanwhile, however long it takes: twice its log.
GROWTH = 32 * MIB
LOG_BYTES = 16 * MIB
TURN_BYTES = 64 << 10
WRITTEN_SHARE = 4
MOST_WRITES = 300  # a second, of each of the two hosts that write
WARM_UP_S = 10


def joining(mbit: int, state_bytes: int) -> Measure:
    """The measurement for a link of so many Mbit/s and a state of so many bytes."""

    def measure(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
        count = max(int(state_bytes * scale) // VALUE_BYTES, 50)
        leader = cluster.leader()
        joiner, other = cluster.others(leader)
        lose_everything(joiner)
        other.worker.store("state", count, VALUE_BYTES)
        drop_from_the_log(other)
        size = count * VALUE_BYTES
        bound = size / (mbit * MBIT) * FACTOR + SECONDS
        each = mbit * MBIT / WRITTEN_SHARE / 2
        rate = min(each / VALUE_BYTES, MOST_WRITES)
        plan = Plan({"set": 1}, rate=rate, levels=["quorum"], value_bytes=int(each / rate))
        with recorders.running(plan, hosts=[leader, other]) as history:
            lasting(max(WARM_UP_S * scale, 3))
            before = file_bytes(leader)
            cluster.network.slow_down(joiner.machine, f"{mbit}mbit")
            began = time.monotonic()
            joiner.start()
            eventually(joiner.serves, bound * 4)
            took = time.monotonic() - began
            growth = file_bytes(leader) - before
        cluster.network.heal()
        gone = lost_entries(cluster, history) + failed(history)
        what = f"a host joins over {mbit:,} Mbit/s, {size / 1e6:,.0f} MB, while a quarter of that is written"
        return [
            Row(f"{what}: serves after", f"{bound:.0f} s", f"{took:.1f} s", took <= bound),
            grown(f"{what}: growth of the leader's file", growth, GROWTH),
            none(f"{what}: writes of the others that failed or were lost meanwhile", len(gone)),
            none(f"{what}: values that it lacks when it serves", lacking(joiner, count)),
        ]

    return measure


def drop_from_the_log(host: Host) -> None:
    """Write one entry again and again, until the log holds nothing of what was written before."""
    for number in range(2 * LOG_BYTES // TURN_BYTES):
        host.worker.set("turn", f"{number:>{TURN_BYTES}}")


def file_bytes(host: Host) -> int:
    return (host.location / "replica.lmdb").stat().st_size
