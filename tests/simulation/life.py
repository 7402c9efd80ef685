"""One random life of a cluster, from a seed; and what it must come to in the end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Any

from .cluster import Cluster
from .faults import Clients, Nemesis
from .host import Host
from .invariants import InvariantBroken
from .plan import draw


class LifeEnded(AssertionError):
    """A life that broke an invariant, or the code under test; the cause says which."""

    def __init__(self, seed: int, time: float, strikes: int) -> None:
        super().__init__(f"seed {seed} failed after {time:.0f} ms and {strikes} strikes")
        self.time = time
        self.strikes = strikes


@dataclass(slots=True)
class Result:
    seed: int
    steps: int
    acknowledged: int
    ended: int
    committed: int
    leaderships: int
    generations: int
    transfers: int
    reads: int
    retries: int
    removed: int
    full: int


# How many times longer a host may take to settle that applies one entry a step, on a slow disk.
AGAIN_AT_MOST = 5


def live(
    seed: int,
    duration: int = 30_000,
    *,
    without: frozenset[int] = frozenset(),
    tails: bool = False,
    tracing: bool = False,
    **changes: Any,
) -> Result:
    """Live one life, with all strikes of the nemesis but those in `without`; `changes` are to the plan of the seed.

    Raises LifeEnded where something that must hold does not.
    """
    rng = Random(seed)
    plan = replace(draw(rng, duration, tails=tails), **changes)
    cluster = Cluster(plan, rng, tracing=tracing)
    if tracing:
        print(plan)
    for host in cluster.hosts.values():
        cluster.at(rng.uniform(0, 500), cluster.restart, host)
    nemesis, clients = Nemesis(cluster, without), Clients(cluster)
    try:
        cluster.run_until(duration)
        nemesis.stop()
        _demand_recovery(cluster, clients)
    except Exception as error:
        raise LifeEnded(seed, cluster.now, nemesis.strikes) from error
    invariants = cluster.invariants
    return Result(
        seed,
        cluster.steps,
        invariants.acknowledged,
        len(cluster.ended),
        max((len(history.order) for history in invariants.histories.values()), default=0),
        invariants.leaderships,
        len(invariants.generations_led),
        cluster.transfers,
        invariants.reads,
        cluster.retries,
        cluster.removed,
        cluster.full,
    )


def _demand_recovery(cluster: Cluster, clients: Clients) -> None:
    """Everything is healed: a leader must follow, and every host serves reads, while the clients go on.

    Then they stop: equal replicas within the limits and an end of every operation must follow.
    """
    hosts = list(cluster.hosts.values())
    plan = cluster.plan
    timeout, late = plan.election_timeout, plan.longest_tail
    if not cluster.run_while(lambda: not _has_leader(cluster), at_most=8 * timeout + late):
        raise InvariantBroken(f"no leader {8 * timeout + late:g} ms after everything was healed")
    readable: set[str] = set()
    may_demand = plan.log_reaches_back and plan.hosts_keep_up
    all_serve = lambda: not may_demand or _all_serve(cluster, readable)
    if not cluster.run_while(lambda: not all_serve(), at_most=6 * timeout + 5000 + late):
        raise InvariantBroken(f"while others write, only {sorted(readable)} serve: {_states(hosts)}")
    clients.over = True
    readable.clear()
    if not _settles(cluster, readable, 6 * timeout + 5000 + late):
        waiting = f"; waiting: {list(cluster.operations)}; could read: {sorted(readable)}"
        raise InvariantBroken(f"not settled after everything was healed: {_states(hosts)}{waiting}")


def _settles(cluster: Cluster, readable: set[str], at_most: float) -> bool:
    """Whether all is settled in time; a slow disk has as long as the host gets on with what was written before."""
    hosts = cluster.hosts.values()
    for _ in range(AGAIN_AT_MOST):
        before = [host.disk.applied for host in hosts]
        if cluster.run_while(lambda: not _settled(cluster, readable), at_most=at_most):
            return True
        if [host.disk.applied for host in hosts] == before:
            return False
    return False


def _states(hosts: list[Host]) -> str:
    return "; ".join(
        f"{h.addr} {h.core.role.value if h.core else 'is down'} {h.disk.hard} applied {h.disk.applied}"
        f" pending {h.core.pending if h.core else 0}"
        for h in hosts
    )


def _all_serve(cluster: Cluster, readable: set[str]) -> bool:
    """Whether each host could read since: not all at one moment, a short lease flickers."""
    readable.update(host.addr for host in cluster.hosts.values() if host.may_read())
    # Where answers take longer than a short lease lasts, there may be none.
    return not cluster.plan.leases_last or len(readable) == cluster.plan.nodes


def _has_leader(cluster: Cluster) -> bool:
    return any(leader.core.accepts for leader in cluster.leaders)


def _settled(cluster: Cluster, readable: set[str]) -> bool:
    """Whether all is done and equal, and within the limits, and each host could read since."""
    hosts = list(cluster.hosts.values())
    return (
        _all_serve(cluster, readable)
        and not cluster.operations
        # One that was told to stop before the end is back only after it.
        and all(host.core is not None for host in hosts)
        and all(host.core.pending == 0 and not host.disk.hard.fresh for host in hosts)
        and not any(cluster.plan.exceeded_by(leader.disk.contents) for leader in cluster.leaders)
        and cluster.invariants.equal(hosts)
    )
