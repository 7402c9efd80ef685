"""What `make faults` measures: each function does one kind of fault for long enough, and returns rows of the report.

Every measurement also judges its history: a broken promise is a failure, whatever the numbers say.
"""

from __future__ import annotations

import signal
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.cluster.conftest import eventually
from tests.faults.cluster import Cluster, Host
from tests.faults.consistency import miscounted
from tests.faults.history import History
from tests.faults.judge import (
    acknowledged_within,
    assert_consistent,
    assert_kept_its_promises,
    failed,
    lasting,
    lost_entries,
    writes,
)
from tests.faults.recording import COUNTING, READING, Plan, Recorders

STEADY = Plan({"set": 1}, rate=100, levels=["quorum"])
SECOND = 1e9
ELECTION_TIMEOUT_S = 2.0
MIB = 1 << 20


@dataclass(frozen=True)
class Row:
    """One line of the report. `met` says whether `measured` is what was `wanted`."""

    what: str
    wanted: str
    measured: str
    met: bool


Measurement = Callable[[Cluster, Recorders, float], list[Row]]


def times(count: int, scale: float) -> int:
    return max(2, round(count * scale))


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


def _steady(
    cluster: Cluster,
    recorders: Recorders,
    what: str,
    fault: Callable[[Host], None],
    share: float | None = None,
) -> list[Row]:
    """Rows on leader changes during `fault`, which gets a follower and returns when it is over."""
    leader = cluster.leader()
    victim, other = cluster.others(leader)
    before, term = cluster.leaderships(), leader.status().term
    with recorders.running() as history:
        fault(victim)
        cluster.network.heal()
    changes, terms = len(cluster.leaderships()) - len(before), cluster.term() - term
    assert_kept_its_promises(cluster, history)
    rows = [Row(f"{what}: leader changes (terms)", "0 (0)", f"{changes} ({terms})", changes == terms == 0)]
    # A follower that is cut off cannot write; the others can all the time.
    of = writes(history, None if share is not None else [leader, other])
    found = acknowledged_within(of, 5.0)
    text = f"{what}: share of {len(of):,} writes answered within 5 s"
    wanted = 1.0 if share is None else share
    return [*rows, Row(text, percent(wanted), percent(found), found >= wanted)]


def _loss(probability: float, share: float) -> Measurement:
    def measure(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
        def lose(_: Host) -> None:
            cluster.network.lose(probability)
            lasting(300 * scale)

        what = f"{probability:.0%} of all packets lost on all links for {300 * scale:.0f} s"
        return _steady(cluster, recorders, what, lose, share)

    return measure


def flapping(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
    def flap(victim: Host) -> None:
        for _ in range(times(30, scale)):
            cluster.network.isolate(victim.machine)
            lasting(2)
            cluster.network.heal()
            lasting(2)

    what = f"a follower's link flaps (2 s off, 2 s on) for {4 * times(30, scale)} s"
    return _steady(cluster, recorders, what, flap)


def _cut(what: str, fault: str) -> Measurement:
    def measure(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
        def cut(victim: Host) -> None:
            getattr(cluster.network, fault)(victim.machine)
            lasting(60 * scale)
            cluster.network.heal()
            lasting(5)

        return _steady(cluster, recorders, f"a follower {what} for {60 * scale:.0f} s and comes back", cut)

    return measure


def rolling(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
    rounds = times(5, scale)
    with recorders.running() as history:
        for _ in range(rounds):
            for host in cluster.hosts:
                assert host.signal(signal.SIGTERM) == 0
                host.start()
                cluster.wait()
    gone = len(lost_entries(cluster, history))
    assert_consistent(cluster, history)
    wrong, longest = len(failed(history)), max(one.end - one.begin for one in history) / SECOND
    what = f"rolling restart of all nodes under load, {rounds} times"
    return [
        Row(f"{what}: failed of {len(history):,} operations", "0", str(wrong), wrong == 0),
        Row(f"{what}: acknowledged entries that were lost", "0", str(gone), gone == 0),
        Row(
            f"{what}: longest wait, on the host that restarts",
            "5,000 ms, WRITE_TIMEOUT",
            ms(longest),
            longest <= 5,
        ),
    ]


def handover(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
    waits, wrong, count = [], 0, times(10, scale)
    for _ in range(count):
        leader = cluster.leader()
        with recorders.running(STEADY, READING, hosts=cluster.others(leader)) as history:
            lasting(0.5)
            begin = time.monotonic_ns()
            assert leader.signal(signal.SIGTERM) == 0
            lasting(0.5)
        cluster.repair()
        assert_consistent(cluster, history)
        wrong += len(failed(history))
        waits.append(max(one.end - one.begin for one in writes(history) if one.end > begin) / SECOND)
    what = f"SIGTERM of the leader, {count} times"
    return [
        Row(f"{what}: failed writes of the other hosts", "0", str(wrong), wrong == 0),
        Row(
            f"{what}: longest wait of a write (median {ms(statistics.median(waits))})",
            "300 ms",
            ms(max(waits)),
            max(waits) <= 0.3,
        ),
    ]


def incr(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
    kills = times(20, scale)
    one, two, three = cluster.hosts
    one.worker.set("counter", 0, None, ack="all")
    plans = {one: [COUNTING] * 3, two: [COUNTING] * 3, three: [COUNTING] * 2}
    with recorders.running_each(plans) as history:
        for _ in range(kills):
            leader = cluster.leader()
            leader.signal(signal.SIGKILL)
            new = cluster.leader(cluster.others(leader))
            new.worker.set("after", 1)
            leader.start()
            cluster.wait()
    end = eventually(lambda: one.worker.incr("counter", 0))
    wrong = miscounted(history, 0, end)
    acknowledged = sum(call.outcome == "ok" for call in history)
    unknown = sum(call.outcome == "unknown" for call in history)
    what = f"`incr` from 8 processes during {kills} kills of the leader"
    told = f"{acknowledged:,} acknowledged, {unknown} unknown, counted {end:,}"
    return [Row(what, "each acknowledged once, no other twice", told, not wrong)]


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


def slow(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
    large = Plan({"set": 9, "get": 1}, rate=10, value_bytes=MIB, levels=["quorum"])
    leader = cluster.leader()
    victim, other = cluster.others(leader)
    latencies = []
    before, changes = leader.memory_bytes(), len(cluster.leaderships())
    grown = 0
    for slowed in (False, True):
        if slowed:
            before = leader.memory_bytes()
            cluster.network.slow_down(victim.machine)
        with recorders.running(large, hosts=[other]) as history:
            for _ in range(times(60, scale)):
                lasting(1)
                grown = max(grown, leader.memory_bytes() - before) if slowed else 0
        assert failed(history) == []
        latencies.append(p99(history))
    changes = len(cluster.leaderships()) - changes
    assert_kept_its_promises(cluster, history)
    what = f"a follower with 1 Mbit/s while another host writes 1 MiB values for {times(60, scale)} s"
    ratio = latencies[1] / latencies[0]
    return [
        Row(f"{what}: leader changes", "0", str(changes), changes == 0),
        Row(
            f"{what}: growth of the leader's own memory",
            "64 MiB",
            f"{grown / MIB:.0f} MiB",
            grown <= 64 * MIB,
        ),
        Row(f"{what}: p99 of the writes against that without", "2 times", f"{ratio:.1f} times", ratio <= 2),
    ]


def p99(history: History) -> float:
    waits = sorted(one.end - one.begin for one in writes(history))
    return waits[int(len(waits) * 0.99)] / SECOND


def ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"


def percent(share: float) -> str:
    # Cut, not rounded: 99.999 % is not all.
    return f"{int(share * 100_000) / 1000:g} %"


MEASUREMENTS: dict[str, Measurement] = {
    "kill": kill,
    "stop": stop,
    "partition": partition,
    "loss5": _loss(0.05, 0.999),
    "loss10": _loss(0.10, 0.999),
    "loss20": _loss(0.20, 0.99),
    "flapping": flapping,
    "isolated": _cut("is cut off", "isolate"),
    "deaf": _cut("hears nobody", "deafen"),
    "silent": _cut("is heard by nobody", "silence"),
    "rolling": rolling,
    "handover": handover,
    "incr": incr,
    "all": frozen_all,
    "slow": slow,
}
