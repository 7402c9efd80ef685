"""The leader's heartbeats: check-quorum, and the leases that let hosts serve reads (Raft thesis, section 6.4.1).

Let s be the send time of the latest heartbeat that a majority has answered. The leader counts on being the only one
until s plus a lease, and grants a follower no more than what is left of that. What a host makes of a grant is
follower/lease.py's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_hacache.consensus.config import CoreConfig
from django_hacache.consensus.follower.lease import HostLease
from django_hacache.consensus.leader.progress import Progress
from django_hacache.consensus.leader.replication import LeaderReplication
from django_hacache.consensus.messages import Ping, Pong
from django_hacache.consensus.quorum import reached_by
from django_hacache.consensus.state import NEVER, NodeState

if TYPE_CHECKING:
    from collections.abc import Collection

ALWAYS = 1 << 62  # a node hears itself at any time


class Heartbeats:
    def __init__(
        self, config: CoreConfig, state: NodeState, replication: LeaderReplication, lease: HostLease
    ) -> None:
        self._config = config
        self._state = state
        self._replication = replication
        self._lease = lease
        self._seq = 0
        self.next_at_ms = NEVER
        self._led_since_ms = NEVER
        # Something has happened that the leader's own lease depends on.
        self._own_due = True

    def begin(self, now_ms: int) -> None:
        self._led_since_ms = now_ms
        self.next_at_ms = now_ms
        self._own_due = True
        self._lease.forget_grants()

    # check-quorum

    def _majority_answered_ms(self) -> int:
        """Send time of the latest heartbeat that a majority has answered in this term."""
        answered = [
            progress.answered_ms for progress in self._replication.progress.values() if progress.counts()
        ]
        if not self._state.hard.fresh:
            answered.append(ALWAYS)
        quorum = self._config.quorum
        return reached_by(answered, quorum) if len(answered) >= quorum else NEVER

    def lost_quorum(self, now_ms: int) -> bool:
        """Whether no majority has answered for an election timeout."""
        if not self._config.peers:
            return False
        # Beside a majority that elects another leader it would grant leases on.
        # Protected: a_leader_on_the_minority_side_goes_on
        since_ms = max(self._majority_answered_ms(), self._led_since_ms)
        return now_ms - since_ms >= self._config.election_timeout_ms

    # the leader's lease

    def lease_left_ms(self, now_ms: int) -> int:
        """How long this leader may count on still being the only one."""
        # A leader that hands over may be replaced before the others' patience is over.
        # Protected: a_leader_has_handed_over
        if self._state.handover.begun or not self._knows_commit():
            return 0
        if not self._config.peers:
            return self._config.lease_ms
        return max(self._majority_answered_ms() + self._config.lease_ms - now_ms, 0)

    def _knows_commit(self) -> bool:
        """A new leader's replica may lack what was acknowledged before it has applied something of its own term."""
        # Protected: a_new_leader_does_not_know_what_is_committed
        return self._state.log.term_at(self._state.applied) == self._state.term

    def renew_own(self, now_ms: int) -> None:
        """The leader's own host reads under the leader's lease."""
        if not self._own_due or not self._knows_commit():
            return
        self._own_due = False
        left_ms = self.lease_left_ms(now_ms)
        if left_ms > 0:
            began_ms = now_ms - self._config.lease_ms + left_ms if self._config.peers else now_ms
            self._lease.grant(began_ms)

    # rounds

    def send_soon(self, now_ms: int) -> None:
        """Let the next round come as soon as it is a later one."""
        self.next_at_ms = min(self.next_at_ms, now_ms + 1)

    def send(self, now_ms: int, only_receiving: Collection[str] = ()) -> None:
        """Send the round of heartbeats that is due, and grant leases with it.

        A host that only receives is to know that the leader lives, and no more. What it takes tells it so; over a slow
        link heartbeats and their answers would take what its replica needs.
        """
        state = self._state
        self._seq += 1
        self._own_due = True
        self.next_at_ms = now_ms + self._config.heartbeat_ms
        # No follower reads for longer than this leader knows to be the only one.
        # Protected: a_leader_grants_while_its_own_lease_runs_out
        left_ms = self.lease_left_ms(now_ms)
        for peer in self._config.peers:
            progress = self._replication.progress.get(peer)
            lease_ms, echo_ms, admitted = 0, 0, ""
            if progress is not None:
                told_at_ms = max(progress.pinged_at_ms, progress.took_at_ms)
                if peer in only_receiving and now_ms - told_at_ms < self._config.seldom_heartbeat_ms:
                    continue
                progress.pinged_at_ms = now_ms
                if progress.admitted and progress.fresh:
                    admitted = progress.incarnation
                echo_ms = progress.node_time_ms
                lease_ms = left_ms if echo_ms and progress.holds() else 0
                if lease_ms:
                    progress.grant(lease_ms)
            # Of what is committed only as much as is applied here: else a follower could show, and acknowledge, what
            # reads of the leader's host do not show yet.
            state.send(peer, Ping(state.term, self._seq, now_ms, state.applied, echo_ms, lease_ms, admitted))

    def on_pong(self, progress: Progress, pong: Pong, now_ms: int) -> None:
        progress.answered_ms = max(progress.answered_ms, pong.sent_at_ms)
        self._own_due = True
        if pong.node_time_ms > progress.node_time_ms:
            progress.node_time_ms, progress.node_time_at_ms = pong.node_time_ms, now_ms

    # leases that hosts may hold

    def on_every_host(self, index: int, now_ms: int) -> bool:
        """Whether no host may serve a read from before the entry at `index` any more."""
        state = self._state
        if state.applied < index:
            return False
        if now_ms < self._led_since_ms + self._config.lease_ms:
            return False  # an earlier leader's leases may still hold, be it over a replica that is gone
        return all(
            # Protected: forget_the_lease_over_a_replica_that_is_gone
            progress.lost_lease_until_ms < now_ms
            and (progress.applied_index >= index or progress.lease_until_ms < now_ms)
            for progress in self._replication.progress.values()
        )

    def next_lease_end_ms(self, now_ms: int) -> int:
        """When a wait for leases may be over at the earliest."""
        ends_ms = [self._led_since_ms + self._config.lease_ms]
        for progress in self._replication.progress.values():
            ends_ms += (progress.lease_until_ms + 1, progress.lost_lease_until_ms + 1)
        return min(
            (end_ms for end_ms in ends_ms if end_ms > now_ms), default=now_ms + self._config.heartbeat_ms
        )
