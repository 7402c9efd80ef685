"""What scripts demand, and do to a node that nobody else does: so they reach into it, and in no other way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.invariants import InvariantBroken

if TYPE_CHECKING:
    from django_hacache.consensus.leader.progress import Progress
    from tests.consensus.stage import Stage
    from tests.simulation.host import Host

FOR_EVER = 1_000_000


def demand(holds: bool, sentence: str) -> None:
    """What no invariant says, and must hold in this script."""
    if not holds:
        raise InvariantBroken(sentence)


def demand_linearizable_reads(cluster: Stage, leader: Host, other: Host) -> None:
    """What another leader acknowledges, the workers of the old one read, or nothing."""
    operation = cluster.put(other, "k", 2, timeout=1000)
    for _ in range(60):
        cluster.run(5)
        acknowledged = operation.ended is not None and operation.ended.refusal is None
        stale = leader.may_read() and cluster.value(leader, "k") == 1
        demand(
            not (acknowledged and stale),
            "the leader's host reads an older value than one that is acknowledged",
        )


def force_election(host: Host, *, pre_vote: bool = False) -> None:
    """It asks for votes now, whatever it hears of a leader."""
    host.core.election.start(host.clock(), pre_vote=pre_vote)
    host.step()


def hold_back(host: Host) -> None:
    """It asks for no votes, unless it hears a leader and loses it again."""
    host.core.detector.deadline_ms += FOR_EVER


def never_campaign(*hosts: Host) -> None:
    """Nor after that."""
    for host in hosts:
        host.core.detector.patience_ms += FOR_EVER
        hold_back(host)


def prefer(host: Host, successor: Host) -> None:
    """It hands over to that one and to no other."""
    host.core.leadership.handover.successor = lambda now_ms: successor.addr


def raise_generations(host: Host) -> None:
    """The generations that it forms have far greater numbers than those of others."""
    host.core.bootstrap.floor += FOR_EVER


def progress_of(host: Host, peer: Host) -> Progress:
    """What it knows, as leader, of a peer."""
    return host.core.replication.progress[peer.addr]
