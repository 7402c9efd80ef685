"""What a node does while it leads: heartbeats, the order, its followers' answers, and giving the leadership away."""

from __future__ import annotations

from django_hacache.consensus.config import CoreConfig
from django_hacache.consensus.detector import FailureDetector
from django_hacache.consensus.follower.lease import HostLease
from django_hacache.consensus.leader.admission import Admission
from django_hacache.consensus.leader.handover import LeaderHandover
from django_hacache.consensus.leader.heartbeats import Heartbeats
from django_hacache.consensus.leader.progress import Progress
from django_hacache.consensus.leader.replication import LeaderReplication
from django_hacache.consensus.leader.standstill import MODESTY, Standstill
from django_hacache.consensus.messages import AppendAck, LeaderAck, Pong, Sender
from django_hacache.consensus.proposals.ordering import Ordering
from django_hacache.consensus.proposals.proposals import Proposals
from django_hacache.consensus.roles import Roles
from django_hacache.consensus.state import NodeState, Role


class Leadership:
    def __init__(
        self,
        config: CoreConfig,
        state: NodeState,
        roles: Roles,
        detector: FailureDetector,
        replication: LeaderReplication,
        heartbeats: Heartbeats,
        lease: HostLease,
        ordering: Ordering,
        proposals: Proposals,
    ) -> None:
        self._config = config
        self._state = state
        self._roles = roles
        self._detector = detector
        self._replication = replication
        self._heartbeats = heartbeats
        self._lease = lease
        self._ordering = ordering
        self._proposals = proposals
        self._admission = Admission(state, replication)
        self._standstill = Standstill(config, state, replication)
        self.handover = LeaderHandover(config, state, replication)

    def begin(self, now_ms: int) -> None:
        """This node has just become the leader: tell so, and put the first entry of its term into the order."""
        state = self._state
        assert state.role is Role.LEADER
        self._replication.begin()
        self._admission.begin()
        self._heartbeats.begin(now_ms)
        self._standstill.begin(now_ms)
        for peer in self._config.peers:
            state.send(peer, LeaderAck(state.election_ts, state.term))
        self._ordering.begin(self._replication.append(b"", "", b"", now_ms).index)
        self._heartbeats.send(now_ms)

    # the course of time

    def tick(self, now_ms: int) -> None:
        """Step down where that is due, else send the heartbeats that are."""
        if self._heartbeats.lost_quorum(now_ms):
            self._step_down(now_ms)
        elif self._standstill.is_over(now_ms):
            # Others ask first: their entries may find ways that ours do not.
            self._step_down(now_ms)
            self._detector.stand_back(MODESTY * self._config.election_timeout_ms)
            self._state.ready.gave_way = True
        elif self._has_waited_for_successor(now_ms) and self._state.handover.named:
            # The successor may still win with votes of now, which no admission since has taken into account.
            self._step_down(now_ms)
        else:
            if self._has_waited_for_successor(now_ms):
                self._go_on_leading()
            if now_ms >= self._heartbeats.next_at_ms:
                self._heartbeats.send(now_ms, self._admission.only_receiving())

    def _step_down(self, now_ms: int) -> None:
        self._roles.become_follower(self._state.term, None, now_ms)

    def next_wakeup_ms(self, now_ms: int) -> int:
        at_ms = self._heartbeats.next_at_ms
        if self.accept_due:
            at_ms = now_ms
        if self._proposals.awaited() is None:
            at_ms = min(at_ms, self._heartbeats.next_lease_end_ms(now_ms))
        if self._replication.has_more_to_send():
            at_ms = min(at_ms, now_ms + self._config.commit_delay_ms)
        return at_ms

    @property
    def accept_due(self) -> bool:
        """Whether what waited for this leader can be ordered as soon as it is told that time has passed."""
        ordering = self._ordering
        return ordering.may_be_due and ordering.accepts and ordering.is_due()

    def settle(self, now_ms: int) -> None:
        """Carry the consequences of a step as far as they go now."""
        state, replication = self._state, self._replication
        replication.advance_commit()
        state.apply_committed()
        # Not before the shell has carried out what is to be applied: commands are evaluated on the replica.
        if self._ordering.accepts:
            if not state.ready.apply:
                self._ordering.accept()
            self._ordering.release(now_ms)
        self._proposals.advance_some(now_ms)
        if not self._config.peers and replication.advance_commit():
            state.apply_committed()
        self.handover.go_on(now_ms)
        replication.replicate(now_ms, self._proposals.awaited())
        self._heartbeats.renew_own(now_ms)

    # handing over

    def hand_over(self, now_ms: int) -> bool:
        """Give the leadership to the most up-to-date peer; False where there is nothing to give or nobody."""
        state = self._state
        if state.role is not Role.LEADER or state.handover.begun:
            return False
        if self.handover.successor(now_ms) is None:
            return False
        self._roles.begin_handover(now_ms + self._config.election_timeout_ms)
        # The successor may have written before this leader hears of its term. Protected: a_leader_has_handed_over
        self._lease.revoke()
        return True

    def _has_waited_for_successor(self, now_ms: int) -> bool:
        until_ms = self._state.handover.until_ms
        return until_ms is not None and now_ms >= until_ms

    def _go_on_leading(self) -> None:
        self._roles.end_handover()
        self._ordering.begin(self._state.log.last_index)

    # answers

    def met(self, sender: Sender, now_ms: int) -> None:
        """A message has come, whatever it says."""
        if self._admission.meet(sender, now_ms):
            # It counts once it has answered a heartbeat, and may be the one that a majority lacks.
            self._heartbeats.send_soon(now_ms)

    def on_pong(self, sender: Sender, pong: Pong, now_ms: int) -> None:
        if self._state.role is Role.LEADER and pong.term == self._state.term:
            self._admission.answered(sender, pong.sent_at_ms)
        progress = self._progress_of(sender, pong.term, now_ms)
        if progress is not None:
            self._heartbeats.on_pong(progress, pong, now_ms)
            self._replication.on_applied(progress, pong.applied_index)
            self._admission.admit(progress, now_ms)

    def on_append_ack(self, sender: Sender, ack: AppendAck, now_ms: int) -> None:
        progress = self._progress_of(sender, ack.term, now_ms)
        if progress is not None:
            matched = progress.match_index
            self._replication.on_append_ack(progress, ack, now_ms)
            if progress.match_index > matched:
                progress.took_at_ms = progress.moved_at_ms = now_ms

    def _progress_of(self, sender: Sender, term: int, now_ms: int) -> Progress | None:
        """Whose answer this is, if it is one to this leader in this term; steps down for a later term."""
        state = self._state
        if term > state.term and not sender.fresh:
            self._roles.become_follower(term, None, now_ms)
        # 1. A follower acknowledges in term 5. 2. Another leader cuts that off its log. 3. The first one leads again,
        # and the answer of term 5 arrives. Protected: acknowledgements_of_an_earlier_term_come_late
        if state.role is not Role.LEADER or term != state.term:
            return None
        return self._admission.progress_of(sender)

    def lost_quorum(self, now_ms: int) -> bool:
        return self._heartbeats.lost_quorum(now_ms)

    # the connections

    def part_answered(self, sender: Sender, now_ms: int) -> bool:
        """A peer has answered a part of a replica, or a question: slow is not stuck."""
        # A host that has lost half a replica lacks nothing, for all it knows.
        # Protected: a_host_that_lost_half_a_replica_is_asked_how_far_it_is
        progress = self._admission.progress_of(sender)
        if progress is None:
            return False
        progress.took_at_ms = progress.moved_at_ms = now_ms
        return True

    def append_moves(self, peer: str, now_ms: int) -> None:
        """The connection to `peer` has taken more of the Append in flight: slow is not lost."""
        progress = self._replication.progress.get(peer)
        if progress is not None:
            progress.moved_at_ms = progress.append_moved_at_ms = now_ms

    def connection_lost(self, peer: str) -> None:
        progress = self._replication.progress.get(peer)
        if progress is not None:
            progress.connection_lost()
