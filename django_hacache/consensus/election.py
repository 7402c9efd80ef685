"""Elections: who starts one, who grants a vote, who counts it (Raft thesis, sections 3.4, 4.2.3 and 9.6).

Safety comes from terms, one vote a term and the up-to-date check. Pre-vote and stickiness keep a node behind a bad
link from disturbing a leader that works; evidence of the leader's death only shortens the wait. The base schema's
timestamps decide nothing but who should win when several ask at once.

A node that lost its state takes part only in elections that form a generation: bootstrap.py says when.
"""

from __future__ import annotations

from django_hacache.consensus.bootstrap import Bootstrap
from django_hacache.consensus.config import CoreConfig
from django_hacache.consensus.detector import FailureDetector
from django_hacache.consensus.leadership import Leadership
from django_hacache.consensus.membership import Membership
from django_hacache.consensus.messages import (
    Generation,
    LeaderAck,
    LeaderDead,
    LeaderReq,
    LeaderReqAck,
    LeaderSwitch,
    LeaderSwitchAck,
    LeaderSwitchPriority,
    Probe,
    ProbeReply,
    Sender,
)
from django_hacache.consensus.roles import Roles
from django_hacache.consensus.state import NEVER, NodeState, Role


class Election:
    def __init__(
        self,
        config: CoreConfig,
        state: NodeState,
        roles: Roles,
        detector: FailureDetector,
        bootstrap: Bootstrap,
        membership: Membership,
        leadership: Leadership,
        wall_offset_ms: int,
    ) -> None:
        self._config = config
        self._state = state
        self._roles = roles
        self._detector = detector
        self._bootstrap = bootstrap
        self._membership = membership
        self._leadership = leadership
        self._wall_offset_ms = wall_offset_ms
        self._next_probe_at_ms = NEVER
        # This candidate's votes, the generation that it forms (None in an ordinary election), and the date of its
        # requests: an answer to another one is not counted.
        self.votes: set[str] = set()
        self._forming: Generation | None = None
        self._asked_ts = 0
        self._asked_at_ms = NEVER
        # Of the candidate that has this node's vote: when it created its request.
        self._voted_ts = 0

    # start

    def tick(self, now_ms: int) -> None:
        """Look for a leader, and ask for votes when it is time to."""
        state, hard = self._state, self._state.hard
        leaderless = state.leader is None or not self._detector.leader_is_live(now_ms)
        if leaderless and now_ms >= self._next_probe_at_ms:
            self._next_probe_at_ms = now_ms + 2 * self._config.heartbeat_ms
            for peer in self._config.peers:
                state.send(peer, Probe())
        if self._bootstrap.is_abandoned(now_ms, leaderless=leaderless):
            self._membership.start_over(None)
            hard = state.hard
        if hard.fresh:
            if leaderless and self._bootstrap.is_due(now_ms):
                self.start(now_ms, pre_vote=False, forming=self._bootstrap.propose())
        elif now_ms >= self._detector.deadline_ms and not hard.installing:
            # Who has half a replica cannot lead. Protected: a_leader_is_lost_while_a_follower_has_half_a_replica,
            # an_incomplete_replica_is_alone_with_the_other
            self.start(now_ms, pre_vote=True)

    def on_probe(self, sender: Sender, message: Probe, now_ms: int) -> None:  # noqa: ARG002
        """A node without a leader looks for one: the answer shows this node, and what it is a member of."""
        self._state.send(sender.addr, ProbeReply())

    def next_wakeup_ms(self, now_ms: int) -> int:
        """When a follower asks for votes; what is due and may not be done yet has to wait for the next heartbeat."""
        hard = self._state.hard
        at_ms = self._bootstrap.campaign_at_ms if hard.fresh else self._detector.deadline_ms
        return at_ms if at_ms > now_ms and not hard.installing else now_ms + self._config.heartbeat_ms

    def start(
        self, now_ms: int, *, pre_vote: bool, handover: bool = False, forming: Generation | None = None
    ) -> None:
        """Ask everybody for a vote; become the leader at once where this node's own is enough."""
        state = self._state
        self._forming = forming
        self.votes = {self._config.addr}
        self._detector.postpone(now_ms)
        self._asked_ts, self._asked_at_ms = now_ms + self._wall_offset_ms, now_ms
        if pre_vote:
            self._roles.become_pre_candidate()
            self._detector.ask_again_soon(now_ms)
        else:
            self._roles.become_candidate(forming)
            self._voted_ts = state.election_ts = self._asked_ts
        request = LeaderReq(
            election_ts=self._asked_ts,
            term=state.term + 1 if pre_vote else state.term,
            last_index=state.log.last_index,
            last_term=state.log.last_term,
            pre_vote=pre_vote,
            handover=handover,
            forming=forming,
        )
        for peer in self._config.peers:
            state.send(peer, request)
        if len(self.votes) >= self._config.quorum:
            self._has_majority(now_ms)

    def _has_majority(self, now_ms: int) -> None:
        if self._state.role is Role.PRE_CANDIDATE:
            self.start(now_ms, pre_vote=False)
            return
        if self._forming is not None:
            self._membership.enter(self._forming)
        self._roles.become_leader()
        self._leadership.begin(now_ms)

    def leader_process_gone(self, peer: str, now_ms: int) -> None:
        """The connection to `peer` was refused or reset: if it leads, tell the others and do not wait."""
        state = self._state
        if state.role is not Role.FOLLOWER or state.leader != peer or state.hard.fresh:
            return
        self._detector.suspect(now_ms, own=True)
        for other in self._config.peers:
            if other != peer:
                state.send(other, LeaderDead(peer, now_ms + self._wall_offset_ms, state.term))

    def on_leader_dead(self, sender: Sender, message: LeaderDead, now_ms: int) -> None:  # noqa: ARG002
        state = self._state
        if state.leader == message.vote_host and state.term == message.term and not state.hard.fresh:
            self._detector.suspect(now_ms, own=False)

    def on_leader_switch(self, sender: Sender, message: LeaderSwitch, now_ms: int) -> None:
        """The leader names its successor: start at once if it is this node, else vote for who asked too early."""
        state = self._state
        if state.leader != sender.addr or message.term != state.term:
            return
        if message.vote_host != self._config.addr:
            handover = state.handover
            handover.named = message.vote_host
            early, handover.early = handover.early, None
            if early is not None:
                self.on_leader_req(*early, now_ms)
        elif not (state.hard.fresh or state.hard.installing):
            state.send(sender.addr, LeaderSwitchAck(state.term))
            self.start(now_ms, pre_vote=False, handover=True)

    # grant

    def on_leader_req(self, sender: Sender, request: LeaderReq, now_ms: int) -> None:
        state = self._state
        if request.forming is None and (state.hard.fresh or sender.fresh):
            return
        self._bootstrap.saw(request.forming)
        may_form = self._may_form(request.forming, now_ms)
        if request.pre_vote:
            granted = self._grants_pre_vote(sender, request, now_ms, may_form=may_form)
            self._answer(sender, request, granted=granted)
            return
        # 1. A candidate gets its pre-votes while the others do not hear the leader. 2. They hear it again. 3. The real
        # request comes. A vote now would let two leaders read. Protected: a_candidate_asks_beside_a_live_leader
        if self._is_sticky(now_ms) and not (request.handover and self._is_named(sender.addr)):
            if request.handover:
                state.handover.early = (sender, request)  # the leader's word may be on its way
            self._answer(sender, request, granted=False)
            return
        if request.forming is not None and not may_form:
            return
        if request.term > state.term:
            self._roles.become_follower(request.term, None, now_ms)
        granted = self._grants(sender, request, may_form=may_form)
        if granted:
            self._roles.vote_for(sender.addr, request.forming)
            self._voted_ts = request.election_ts
            self._detector.postpone(now_ms)
            if may_form:
                self._bootstrap.promise(now_ms)
        self._answer(sender, request, granted=granted)

    def _may_form(self, forming: Generation | None, now_ms: int) -> bool:
        """Whether this node may help to form that generation now; a promise to another one keeps it from that."""
        return (
            forming is not None
            and self._bootstrap.is_allowed(now_ms)
            and (not self._bootstrap.has_promised(now_ms) or self._state.hard.forming == forming)
        )

    def _is_sticky(self, now_ms: int) -> bool:
        """Whether a leader works, be it this node: then no candidate needs a vote."""
        if self._detector.leader_is_live(now_ms):
            return True
        return self._state.role is Role.LEADER and not self._leadership.lost_quorum(now_ms)

    def _is_named(self, addr: str) -> bool:
        """Whether the leader, this node or the one that it follows, wants `addr` to take over.

        Whoever says so itself would otherwise have the votes for which stickiness keeps a leader that works.
        """
        handover = self._state.handover
        return handover.named == addr and (handover.begun or self._state.role is not Role.LEADER)

    def _grants_pre_vote(self, sender: Sender, request: LeaderReq, now_ms: int, *, may_form: bool) -> bool:
        state = self._state
        return (
            self._is_eligible(sender, request, may_form=may_form)
            and request.term > state.term
            and state.role is not Role.LEADER
            and not self._detector.leader_is_live(now_ms)
        )

    def _grants(self, sender: Sender, request: LeaderReq, *, may_form: bool) -> bool:
        """Whether this node gives its real vote, where its term is the request's by now, or a later one."""
        hard = self._state.hard
        return (
            self._is_eligible(sender, request, may_form=may_form)
            and request.term == hard.term
            # Two candidates of one term ask the same voter, and it restarts between them.
            # Protected: a_voter_restarts_between_two_candidates
            and hard.vote in ("", sender.addr)
        )

    def _is_eligible(self, sender: Sender, request: LeaderReq, *, may_form: bool) -> bool:
        """Whether the candidate and this node may elect together, and its log has all that this one's has."""
        fresh = self._state.hard.fresh
        if request.forming is not None:
            eligible = fresh and sender.fresh and may_form
        else:
            eligible = not fresh and not sender.fresh
        return eligible and self._state.up_to_date(request.last_index, request.last_term)

    def _answer(self, sender: Sender, request: LeaderReq, *, granted: bool) -> None:
        state = self._state
        term = request.term if granted else state.term
        state.send(sender.addr, LeaderReqAck(request.election_ts, term, granted, request.pre_vote))
        other = state.hard.vote
        if granted or request.pre_vote or request.term != state.term or other in ("", sender.addr):
            return
        if state.role is Role.LEADER or state.leader is not None:
            return
        # Two candidates in one term: whoever asked first has priority; ties go to the smaller address.
        first_ts, first = min((self._voted_ts, other), (request.election_ts, sender.addr))
        message = LeaderSwitchPriority(first, first_ts, state.term)
        for candidate in (other, sender.addr):
            if candidate != self._config.addr:
                state.send(candidate, message)

    # count

    def on_leader_req_ack(self, sender: Sender, ack: LeaderReqAck, now_ms: int) -> None:
        if not ack.granted and ack.term > self._state.term:
            self._roles.become_follower(ack.term, None, now_ms)
        elif self._counts(sender, ack, now_ms):
            had = len(self.votes)
            self.votes.add(sender.addr)
            if had < self._config.quorum <= len(self.votes):
                self._has_majority(now_ms)

    def _counts(self, sender: Sender, ack: LeaderReqAck, now_ms: int) -> bool:
        """Whether this is a vote, and for the request that this candidate made last."""
        state = self._state
        asking = Role.PRE_CANDIDATE if ack.pre_vote else Role.CANDIDATE
        expected = state.term + 1 if ack.pre_vote else state.term
        # 1. It asks in term 5, and is frozen with the votes on their way. 2. It asks again in term 6, in which the same
        # voters elect another one. 3. Their votes of term 5 arrive. Protected: an_old_vote_comes_late
        if state.role is not asking or not ack.granted or ack.term != expected:
            return False
        if ack.election_ts != self._asked_ts:
            return False
        if self._forming is None:
            return not sender.fresh  # whoever forgot its promises cannot make one
        # A candidate that was frozen counts none: its voters may have promised another generation since.
        return now_ms - self._asked_at_ms < self._config.election_timeout_ms // 3

    def on_priority(self, sender: Sender, message: LeaderSwitchPriority, now_ms: int) -> None:  # noqa: ARG002
        """Two candidates met in this term: the earlier one asks again at once, the later one waits."""
        state = self._state
        if state.hard.fresh or state.role is not Role.CANDIDATE or message.term != state.term:
            return
        if message.vote_host == self._config.addr:
            self.start(now_ms, pre_vote=True)
        else:
            self._roles.give_priority()
            self._detector.postpone(now_ms)

    def on_leader_ack(self, sender: Sender, message: LeaderAck, now_ms: int) -> None:
        """A majority has elected the sender."""
        if self._roles.follow(sender, message.term, now_ms):
            self._state.election_ts = message.election_ts
