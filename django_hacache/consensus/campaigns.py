"""How a member becomes the leader, votes for another one, and hands the leadership over.

The rules of a vote are election.py's; here is what follows from them for the whole node.
"""

from __future__ import annotations

from .member import Member
from .messages import (
    Generation,
    LeaderAck,
    LeaderDead,
    LeaderReq,
    LeaderReqAck,
    LeaderSwitch,
    LeaderSwitchAck,
    LeaderSwitchPriority,
    Probe,
    Sender,
)
from .standstill import MODESTY
from .state import Role


class Campaigner(Member):
    """A member that asks for votes, gives its own, and gives the leadership away."""

    # time

    def _tick_leader(self, now: int) -> None:
        if self._leases.lost_quorum(now):
            self._become_follower(self._state.term, None, now)
            return
        if self._standstill.is_over(now):
            self._give_way(now)
            return
        if self._handing_over_until is not None and now >= self._handing_over_until:
            if self._handover_sent:
                # The successor may still win with votes of now, which no admission since has taken into account.
                self._become_follower(self._state.term, None, now)
                return
            # Nobody could take it: go on.
            self._handing_over_until = None
            self._leases.given_up = False
            self._submissions.accepts_from = self._state.log.last_index
        if now >= self._leases.next_ping_at:
            self._leases.ping(now)

    def _give_way(self, now: int) -> None:
        """Step down, and let others ask first: their entries may find ways that ours do not."""
        self._become_follower(self._state.term, None, now)
        self._election.deadline += MODESTY * self.config.election_timeout
        self._state.ready.gave_way = True

    def _tick_follower(self, now: int) -> None:
        state = self._state
        leaderless = state.leader is None or not self._election.leader_is_live(now)
        if leaderless and now >= self._formation.next_probe_at:
            self._formation.next_probe_at = now + 2 * self.config.heartbeat
            for peer in self.config.peers:
                state.send(peer, Probe())
        if self._formation.abandoned(now, leaderless=leaderless):
            self._start_over(None, term=0, vote="", fresh=True)
            self._submissions.leadership_changed()
        if self.hard.fresh:
            if leaderless and self._formation.due(now):
                self._campaign(now, pre_vote=False, forming=self._formation.propose())
        elif now >= self._election.deadline and not self.hard.installing:
            self._campaign(now, pre_vote=True)

    # elections

    def _campaign(
        self, now: int, *, pre_vote: bool, handover: bool = False, forming: Generation | None = None
    ) -> None:
        had_leader = self._state.leader is not None
        won = self._election.campaign(now, pre_vote=pre_vote, handover=handover, forming=forming)
        if had_leader:
            self._submissions.leadership_changed()
        if won:
            self._majority(now)

    def _majority(self, now: int) -> None:
        if self._state.role is Role.PRE_CANDIDATE:
            self._campaign(now, pre_vote=False)
        else:
            self._lead(now)

    def _lead(self, now: int) -> None:
        state = self._state
        forming = self._election.forming
        if forming is not None:
            self._start_over(forming, term=state.term, vote=self.config.addr, fresh=False)
        state.role = Role.LEADER
        state.leader = self.config.addr
        state.ready.role_changed = True
        self._replication.lead()
        self._leases.lead(now)
        self._standstill.lead(now)
        for peer in self.config.peers:
            state.send(peer, LeaderAck(state.election_ts, state.term))
        self._submissions.accepts_from = None
        self._submissions.leadership_changed()
        self._submissions.accepts_from = self._replication.append(b"", "", b"", now).index
        self._leases.ping(now)

    def _on_leader_req(self, sender: Sender, request: LeaderReq, now: int) -> None:
        state = self._state
        if request.forming is None and (self.hard.fresh or sender.fresh):
            return
        self._formation.saw(request.forming)
        may_form = (
            request.forming is not None
            and self._formation.allowed(now)
            and (not self._formation.promised(now) or self.hard.forming == request.forming)
        )
        if request.pre_vote:
            granted = self._election.grants(sender, request, now, may_form=may_form)
            self._election.answer(sender, request, granted=granted)
            return
        sticky = self._election.leader_is_live(now) or (
            state.role is Role.LEADER and not self._leases.lost_quorum(now)
        )
        if sticky and not (request.handover and self._has_named(sender.addr)):
            if request.handover:
                self._unnamed = (sender, request)  # the leader's word may be on its way
            self._election.answer(sender, request, granted=False)
            return
        if request.forming is not None and not may_form:
            return
        if request.term > state.term:
            self._become_follower(request.term, None, now)
        granted = self._election.grants(sender, request, now, may_form=may_form)
        if granted:
            self._election.vote(sender, request, now)
            if may_form:
                self._formation.promise(now)
        self._election.answer(sender, request, granted=granted)

    def _on_leader_req_ack(self, sender: Sender, ack: LeaderReqAck, now: int) -> None:
        if not ack.granted and ack.term > self._state.term:
            self._become_follower(ack.term, None, now)
        elif self._election.on_vote(sender, ack, now):
            self._majority(now)

    def _on_leader_ack(self, sender: Sender, message: LeaderAck, now: int) -> None:
        if self._follow(sender, message.term, now):
            self._state.election_ts = message.election_ts

    def _on_priority(self, sender: Sender, message: LeaderSwitchPriority, now: int) -> None:  # noqa: ARG002
        if not self.hard.fresh and self._election.on_priority(message, now):
            self._campaign(now, pre_vote=True)

    def _on_leader_dead(self, sender: Sender, message: LeaderDead, now: int) -> None:  # noqa: ARG002
        state = self._state
        if state.leader == message.vote_host and state.term == message.term and not self.hard.fresh:
            self._election.leader_seems_dead(now, own=False)

    def _on_leader_switch(self, sender: Sender, message: LeaderSwitch, now: int) -> None:
        state = self._state
        if state.leader != sender.addr or message.term != state.term:
            return
        if message.vote_host != self.config.addr:
            self._named = message.vote_host
            unnamed, self._unnamed = self._unnamed, None
            if unnamed is not None:
                self._on_leader_req(*unnamed, now)
        elif not (self.hard.fresh or self.hard.installing):
            state.send(sender.addr, LeaderSwitchAck(state.term))
            self._campaign(now, pre_vote=False, handover=True)

    # handing over

    def _has_named(self, addr: str) -> bool:
        """Whether the leader, this node or the one that it follows, wants `addr` to take over.

        Else whoever says so itself would have the votes for which stickiness keeps a leader that works.
        """
        if self._state.role is Role.LEADER:
            return self._handing_over_until is not None and self._handover_sent == addr
        return self._named == addr

    def _successor(self, now: int) -> str | None:
        """The peer with the longest log, of those that answer: one that is frozen takes nothing over."""
        lately = now - 3 * self.config.heartbeat
        counted = [
            (p.answered >= lately, p.match_index, peer)
            for peer, p in self._replication.progress.items()
            if p.holds()
        ]
        return max(counted)[2] if counted else None

    def _go_on_handing_over(self, now: int) -> None:
        """Name the successor to everybody once it is level, and again with each heartbeat: the news may be lost."""
        if self._handing_over_until is None or now < self._handover_again_at:
            return
        named = self._handover_sent or self._level_successor(now)
        if named:
            self._handover_sent = named
            self._handover_again_at = now + self.config.heartbeat
            message = LeaderSwitch(named, self._state.election_ts, self._state.term)
            # The successor last: those whom it asks should know.
            for peer in sorted(self.config.peers, key=named.__eq__):
                self._state.send(peer, message)

    def _level_successor(self, now: int) -> str:
        """The successor, if it has everything that is in the order; empty where it has not."""
        successor = self._successor(now) or ""
        progress = self._replication.progress.get(successor)
        level = progress is not None and progress.match_index == self._state.log.last_index
        return successor if level else ""
