"""Whose word counts: which incarnation of each host the leader deals with, and when a fresh one is admitted.

A message can be late, and its sender gone. So the leader deals with one incarnation of a host at a time. It turns to
another one only when that one has answered a heartbeat which was sent after the leader had heard of it. The argument
is in docs/explanation/protocol.md, "Why an incarnation that is gone does not count".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_hacache.consensus.leader.progress import Progress
from django_hacache.consensus.leader.replication import LeaderReplication
from django_hacache.consensus.messages import Sender
from django_hacache.consensus.state import NodeState

if TYPE_CHECKING:
    from collections.abc import Collection


class Admission:
    def __init__(self, state: NodeState, replication: LeaderReplication) -> None:
        self._state = state
        self._replication = replication
        # Other incarnations of a peer than the one that the leader deals with, and when it first heard of them.
        self._newcomers: dict[str, tuple[str, int]] = {}

    def begin(self) -> None:
        self._newcomers.clear()

    def meet(self, sender: Sender, now_ms: int) -> bool:
        """Note who sent a message; True where it is another incarnation of its host than those known.

        It does not count by that: the message may be late, and its sender gone. Its answer to a heartbeat will tell.
        """
        known = self._replication.progress.get(sender.addr)
        if known is None:
            self._replication.progress[sender.addr] = self._replication.new_progress(sender)
        elif known.incarnation == sender.incarnation:
            if known.fresh and not sender.fresh:
                self._became_member(sender, known)
        elif self._newcomers.get(sender.addr, ("", 0))[0] != sender.incarnation:
            # 1. A host acknowledges, and loses its directory. 2. The leader deals with its next incarnation. 3. The
            # acknowledgement arrives. Protected: an_acknowledgement_outlives_its_host
            self._newcomers[sender.addr] = (sender.incarnation, now_ms)
            return True
        return False

    def _became_member(self, sender: Sender, known: Progress) -> None:
        if known.admitted:
            known.fresh = False
        else:
            # Another leader admitted it: what it said to this one before, it said as one that does not count.
            self._turn_to(sender, known)

    def answered(self, sender: Sender, heartbeat_at_ms: int) -> None:
        """A peer has answered the heartbeat that was sent at that time: it lived then.

        So a newcomer is the later one of the two, if that heartbeat was sent after the leader had heard of it: it
        had heard the other one before.
        """
        incarnation, met_at_ms = self._newcomers.get(sender.addr, ("", 0))
        if incarnation == sender.incarnation and heartbeat_at_ms > met_at_ms:
            self._turn_to(sender, self._replication.progress[sender.addr])

    def _turn_to(self, sender: Sender, before: Progress) -> None:
        """Begin with nothing that the incarnation before, or this one when it did not count, has said."""
        self._newcomers.pop(sender.addr, None)
        progress = self._replication.progress[sender.addr] = self._replication.new_progress(sender)
        # Whatever the new incarnation applies, the workers who read the lost replica do not see it.
        # Protected: forget_the_lease_over_a_replica_that_is_gone
        progress.lost_lease_until_ms = max(before.lease_until_ms, before.lost_lease_until_ms)

    def only_receiving(self) -> Collection[str]:
        """The peers for which there is nothing but entries and a replica yet, and none of whom is to be found alive."""
        return [
            peer
            for peer, progress in self._replication.progress.items()
            if progress.only_receives() and peer not in self._newcomers
        ]

    def progress_of(self, sender: Sender) -> Progress | None:
        """The progress of the very incarnation that speaks; None where its word does not count."""
        known = self._replication.progress.get(sender.addr)
        if known is None or known.incarnation != sender.incarnation:
            return None
        if sender.fresh and not known.fresh and not known.admitted:
            return None  # it said so before another leader admitted it
        return known

    def admit(self, progress: Progress, now_ms: int) -> None:
        """Let a fresh node count once an entry from after this leader met it is committed without it, and it has that.

        Any such entry will do; where none comes the leader orders an empty one.
        """
        state = self._state
        # A leader that hands over puts nothing more into the order.
        if not progress.fresh or progress.admitted or state.handover.begun:
            return
        mark = progress.met_before
        if state.log.last_index < mark:
            self._replication.append(b"", "", b"", now_ms)
        # 1. A host votes for a candidate that is far away, and loses its directory. 2. The leader admits it, and
        # commits with it. 3. The candidate gets its last vote, from a host that lacks what was committed. The mark
        # leaves no such host: a majority holds it, and it is younger than the candidate's log. The fresh are not among
        # those whose entries are counted, so that majority is one without this host.
        # Protected: a_vote_outlives_its_voter
        progress.admitted = not progress.installing and min(state.commit, progress.match_index) >= mark
