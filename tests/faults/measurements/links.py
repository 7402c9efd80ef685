"""Links that lose packets, flap, work one way only, or are slow: what must not change the leader."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.cluster import Cluster, Host
from tests.faults.judge import acknowledged_within, assert_kept_its_promises, failed, lasting, writes
from tests.faults.measurements.rows import (
    MIB,
    Measure,
    Row,
    grown,
    none,
    p99,
    percent,
    places,
    ratio,
    times,
    unchanged,
)
from tests.faults.recording import Plan, Recorders


def steady(
    cluster: Cluster,
    recorders: Recorders,
    what: str,
    fault: Callable[[Host], None],
    share: float | None = None,
) -> list[Row]:
    """Rows on leader changes during `fault`, which gets a follower and returns when it is over."""
    leader = cluster.leader()
    victim, other = cluster.others(leader)
    before = places(cluster)
    with recorders.running() as history:
        fault(victim)
        cluster.network.heal()
    after = places(cluster)
    assert_kept_its_promises(cluster, history)
    # A follower that is cut off cannot write; the others can all the time.
    of = writes(history, None if share is not None else [leader, other])
    found = acknowledged_within(of, 5.0)
    text = f"{what}: share of {len(of):,} writes answered within 5 s"
    wanted = 1.0 if share is None else share
    return [unchanged(what, before, after), Row(text, percent(wanted), percent(found), found >= wanted)]


def losing(probability: float, share: float) -> Measure:
    def measure(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
        def lose(_: Host) -> None:
            cluster.network.lose(probability)
            lasting(300 * scale)

        what = f"{probability:.0%} of all packets lost on all links for {300 * scale:.0f} s"
        return steady(cluster, recorders, what, lose, share)

    return measure


def flapping(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
    def flap(victim: Host) -> None:
        for _ in range(times(30, scale)):
            cluster.network.isolate(victim.machine)
            lasting(2)
            cluster.network.heal()
            lasting(2)

    what = f"a follower's link flaps (2 s off, 2 s on) for {4 * times(30, scale)} s"
    return steady(cluster, recorders, what, flap)


def cut_off(what: str, fault: str) -> Measure:
    def measure(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
        def cut(victim: Host) -> None:
            getattr(cluster.network, fault)(victim.machine)
            lasting(60 * scale)
            cluster.network.heal()
            lasting(5)

        return steady(cluster, recorders, f"a follower {what} for {60 * scale:.0f} s and comes back", cut)

    return measure


def omission(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
    """Five hosts in a chain of acquaintances: two of them, the leader is one, know one of the other three only."""
    seconds = 300 * scale
    leader = cluster.leader()
    first, second, third, end = cluster.others(leader)
    heard = [{first, second}, {second, third}, {first, third}, {leader, second}, {end, third}]
    before = places(cluster)
    with recorders.running() as history:
        for one in cluster.hosts:
            for other in cluster.others(one):
                if {one, other} not in heard:
                    cluster.network.cut_way(one.machine, other.machine)
        lasting(seconds)
        changes = places(cluster).changes - before.changes
        cluster.network.heal()
    assert_kept_its_promises(cluster, history)
    of = writes(history, [first, second, third])
    found = acknowledged_within(of, 5.0)
    what = (
        f"five hosts for {seconds:.0f} s: three hear each other; the leader hears only one of them and the fifth"
        " host only another one"
    )
    return [
        Row(f"{what}: leader changes", "1 at most", str(changes), changes <= 1),
        Row(
            f"{what}: share of {len(of):,} writes of the three answered within 5 s",
            "99 %",
            percent(found),
            found >= 0.99,
        ),
    ]


def slow(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
    large = Plan({"set": 9, "get": 1}, rate=10, value_bytes=MIB, levels=["quorum"])
    leader = cluster.leader()
    victim, other = cluster.others(leader)
    latencies = []
    before, changes = leader.memory_bytes(), len(cluster.leaderships())
    growth = 0
    for slowed in (False, True):
        if slowed:
            before = leader.memory_bytes()
            cluster.network.slow_down(victim.machine)
        with recorders.running(large, hosts=[other]) as history:
            for _ in range(times(60, scale)):
                lasting(1)
                growth = max(growth, leader.memory_bytes() - before) if slowed else 0
        assert failed(history) == []
        latencies.append(p99(history))
    changes = len(cluster.leaderships()) - changes
    assert_kept_its_promises(cluster, history)
    what = f"a follower with 1 Mbit/s while another host writes 1 MiB values for {times(60, scale)} s"
    return [
        none(f"{what}: leader changes", changes),
        grown(f"{what}: growth of the leader's own memory", growth),
        ratio(f"{what}: p99 of the writes against that without", 2, latencies[1] / latencies[0]),
    ]
