"""The role of a node: follower, pre-candidate, candidate, leader. The only writer of role, leader, term and vote.

    follower       becomes a pre-candidate when nobody leads; a candidate when it is named, or to form a generation
    pre-candidate  becomes a candidate when a majority would vote for it
    candidate      becomes the leader when a majority votes for it
    leader         becomes a follower when it has no majority any more, or has handed over

Whoever hears of a leader, or of a later term, becomes a follower.

What must follow from a change of role follows here, so that no caller can forget it: a deposed leader revokes its
lease, a hand-over ends, changes on their way are tried again. Who changes the role, and why, is not decided here.
"""

from __future__ import annotations

from django_hacache.consensus.config import CoreConfig
from django_hacache.consensus.detector import FailureDetector
from django_hacache.consensus.follower.lease import HostLease
from django_hacache.consensus.messages import Generation, LeaderAckAck, Sender
from django_hacache.consensus.proposals.proposals import Proposals
from django_hacache.consensus.state import Handover, NodeState, Role

EDGES: dict[Role, frozenset[Role]] = {
    # Another leader; nobody leads; its leader has named it, or it forms a generation.
    Role.FOLLOWER: frozenset({Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE}),
    # A leader or a later term; it asks again; a majority would vote for it.
    Role.PRE_CANDIDATE: frozenset({Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE}),
    # A leader, a later term or an earlier candidate; it asks again; in a later term; a majority votes for it.
    Role.CANDIDATE: frozenset({Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE, Role.LEADER}),
    # A later term, no majority, or a hand-over. Never another term as leader: that takes votes.
    Role.LEADER: frozenset({Role.FOLLOWER}),
}


class Roles:
    def __init__(
        self,
        config: CoreConfig,
        state: NodeState,
        detector: FailureDetector,
        lease: HostLease,
        proposals: Proposals,
    ) -> None:
        self._addr = config.addr
        self._state = state
        self._detector = detector
        self._lease = lease
        self._proposals = proposals

    def _move(self, role: Role, leader: str | None) -> None:
        state = self._state
        assert role in EDGES[state.role], f"a {state.role.value} does not become {role.value}"
        state.role, state.leader = role, leader
        state.ready.role_changed = True

    # asking for votes

    def become_pre_candidate(self) -> None:
        self._leave_leader_for(Role.PRE_CANDIDATE)

    def become_candidate(self, forming: Generation | None) -> None:
        """Begin the next term, with a vote for itself."""
        state = self._state
        state.harden(term=state.term + 1, vote=self._addr, forming=forming)
        self._leave_leader_for(Role.CANDIDATE)

    def _leave_leader_for(self, role: Role) -> None:
        had_leader = self._state.leader is not None
        self._move(role, None)
        if had_leader:
            self._proposals.leadership_changed()

    def become_leader(self) -> None:
        """Lead the term in which a majority has voted for this node."""
        hard = self._state.hard
        assert hard.vote == self._addr, "a leader has its own vote"
        assert not hard.fresh, "a leader is a member"
        assert hard.installing is None, "a leader has a whole replica"
        self._move(Role.LEADER, self._addr)
        self._proposals.leadership_changed()

    def give_priority(self) -> None:
        """Stop asking in this term: another candidate asked before."""
        assert self._state.role is Role.CANDIDATE
        self._move(Role.FOLLOWER, None)

    # following

    def follow(self, sender: Sender, term: int, now_ms: int) -> bool:
        """Follow whoever speaks as the leader of `term`; False where the term is over."""
        state = self._state
        if term < state.term:
            return False
        if term == state.term and state.leader not in (None, sender.addr):
            # A term has one leader, and votes are given once: one of the two has none.
            state.ready.refused.append((sender.addr, f"to lead term {term}, which {state.leader} leads"))
            return False
        if term > state.term or state.leader != sender.addr:
            self.become_follower(term, sender.addr, now_ms)
            state.send(sender.addr, LeaderAckAck(term))
        self._detector.heard(now_ms)
        return True

    def become_follower(self, term: int, leader: str | None, now_ms: int) -> None:
        """Follow a leader, or nobody, in this term or a later one."""
        state = self._state
        assert term >= state.term, "the term of an incarnation never falls"
        changed = state.leader != leader or state.role is not Role.FOLLOWER or term > state.term
        was_leader = state.role is Role.LEADER
        if term > state.term:
            state.harden(term=term, vote="", forming=None)
        if not changed:
            return
        self._move(Role.FOLLOWER, leader)
        self._end_what_the_leader_said()
        if was_leader:
            # From now on it votes for others: what it promised itself as leader is over.
            # Protected: a_deposed_leader_votes_for_the_next_one
            self._lease.revoke()
            self._detector.postpone(now_ms)
        self._proposals.leadership_changed()

    def step_aside(self) -> None:
        """Follow nobody, before this node starts over."""
        if self._state.role is not Role.FOLLOWER:
            self._move(Role.FOLLOWER, None)
        self._state.leader = None
        self._end_what_the_leader_said()
        self._proposals.leadership_changed()

    def _end_what_the_leader_said(self) -> None:
        """A hand-over has led to something or to nothing, and grants that wait are void."""
        self._state.handover = Handover()
        self._lease.forget_grants()

    # handing over

    def begin_handover(self, until_ms: int) -> None:
        assert self._state.role is Role.LEADER, "only a leader hands over"
        self._state.handover = Handover(until_ms=until_ms)

    def end_handover(self) -> None:
        """Nobody could take the leadership over: go on."""
        assert not self._state.handover.named, "who is named may lead by now"
        self._state.handover = Handover()

    # promises

    def vote_for(self, candidate: str, forming: Generation | None) -> None:
        """Give this term's vote. Protected: a_voter_restarts_between_two_candidates."""
        assert self._state.hard.vote in ("", candidate), "a term has one vote"
        self._state.harden(vote=candidate, forming=forming)

    def begin_incarnation(self, incarnation: str, generation: Generation | None) -> None:
        """Be another one from now on, who has promised nothing: in no term, with no vote."""
        assert self._state.role is Role.FOLLOWER, "who starts over follows nobody"
        assert incarnation != self._state.hard.incarnation, "an incarnation ends once"
        self._state.harden(
            incarnation=incarnation,
            generation=generation,
            term=0,
            vote="",
            fresh=True,
            forming=None,
            installing=None,
        )
