"""One random life of a cluster, from a seed; and what it must come to in the end."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from .cluster import Cluster
from .faults import Clients, Nemesis
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


def live(
    seed: int, duration: int = 30_000, *, without: frozenset[int] = frozenset(), tracing: bool = False
) -> Result:
    """Live one life, with all strikes of the nemesis but those in `without`.

    Raises LifeEnded where something that must hold does not.
    """
    rng = Random(seed)
    plan = draw(rng, duration)
    cluster = Cluster(plan, rng, tracing=tracing)
    if tracing:
        print(plan)
    for host in cluster.hosts.values():
        cluster.at(rng.uniform(0, 500), cluster.restart, host)
    nemesis, clients = Nemesis(cluster, without), Clients(cluster)
    try:
        cluster.run_until(duration)
        clients.over = True
        nemesis.stop()
        _demand_recovery(cluster)
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
    )


def _demand_recovery(cluster: Cluster) -> None:
    """Everything is healed: a leader, equal replicas and an end of every operation must follow."""
    hosts = list(cluster.hosts.values())
    timeout = cluster.plan.election_timeout
    if not cluster.run_while(lambda: not _has_leader(cluster), at_most=8 * timeout):
        raise InvariantBroken(f"no leader {8 * timeout} ms after everything was healed")
    readable: set[str] = set()
    if not cluster.run_while(lambda: not _settled(cluster, readable), at_most=6 * timeout + 5000):
        states = [
            f"{h.addr} {h.core.role.value} {h.disk.hard} applied {h.disk.applied} pending {h.core.pending}"
            for h in hosts
        ]
        raise InvariantBroken("not settled after everything was healed: " + "; ".join(states))


def _has_leader(cluster: Cluster) -> bool:
    return any(leader.core.accepts for leader in cluster.leaders)


def _settled(cluster: Cluster, readable: set[str]) -> bool:
    """Whether all is done and equal, and each host could read since: not all at one moment, a short lease flickers."""
    hosts = list(cluster.hosts.values())
    readable.update(host.addr for host in hosts if host.may_read())
    return (
        not cluster.operations
        and all(host.core.pending == 0 and not host.disk.hard.fresh for host in hosts)
        and cluster.invariants.equal(hosts)
        # Where answers take longer than a short lease lasts, there may be none.
        and (cluster.plan.delay[1] > 40 or len(readable) == len(hosts))
    )
