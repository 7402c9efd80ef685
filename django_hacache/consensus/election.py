"""Elections: Raft's safety with the base schema's messages (Raft thesis, sections 3.4, 4.2.3 and 9.6).

Safety comes from terms, one vote a term and the up-to-date check. Pre-vote and stickiness keep a node behind a bad
link from disturbing a leader that works; evidence of the leader's death only shortens the wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .messages import (
    Generation,
    LeaderDead,
    LeaderReq,
    LeaderReqAck,
    LeaderSwitchPriority,
    Sender,
)
from .state import NEVER, NodeState, Role

if TYPE_CHECKING:
    from random import Random

    from .config import CoreConfig


class Election:
    def __init__(self, config: CoreConfig, state: NodeState, rng: Random, wall_offset: int, now: int) -> None:
        self._config = config
        self._state = state
        self._rng = rng
        self._wall_offset = wall_offset
        self.deadline = 0
        self._votes: set[str] = set()
        self._forming: Generation | None = None
        # What this candidate's requests are dated with; an answer to another one is not counted.
        self._asked_ts = 0
        self._asked_at = NEVER
        # Of the candidate that has our vote: when it created its request.
        self._voted_ts = 0
        # Evidence that the leader's process is gone: when it came, and whether we saw it ourselves.
        self._evidence_at = NEVER
        self._evidence_own = False
        if not state.hard.fresh:
            # How lately it had heard a leader it does not know: perhaps just now, and that leader counts on it.
            state.leader_heard_at = now
        self.postpone(now)
        if not config.peers:
            self.deadline = now  # nobody else can lead

    @property
    def forming(self) -> Generation | None:
        """The generation that this candidate forms, None in an ordinary election."""
        return self._forming

    def postpone(self, now: int) -> None:
        """Wait for a leader, or for another candidate, for one randomized election timeout.

        Raft draws from one to two timeouts. Pre-votes make a tie cheap, so half of that is spread enough, and a new
        leader is there within two timeouts, voting and all.
        """
        timeout = self._config.election_timeout
        self._patience = timeout + self._rng.randrange(timeout // 2 + 1)
        self.deadline = now + self._patience

    # evidence of the leader's death

    def leader_heard(self, now: int) -> None:
        self._state.leader_heard_at = now
        self._evidence_at = NEVER
        self._evidence_own = False
        self.deadline = now + self._patience

    def leader_seems_dead(self, now: int, *, own: bool) -> None:
        """Take evidence: our own (connection refused or reset), or that of a peer."""
        self._evidence_own = self._evidence_own or own
        if self._evidence_at == NEVER:
            self._evidence_at = now
        # A short random wait keeps the survivors from asking all at once.
        wait = self._rng.randrange(self._config.heartbeat // 2 + 1)
        if not self._evidence_own:
            wait += max(self._state.leader_heard_at + 2 * self._config.heartbeat - now, 0)
        self.deadline = min(self.deadline, now + wait)

    def evidence(self, now: int) -> bool:
        if self._evidence_at == NEVER:
            return False
        return self._evidence_own or now - self._state.leader_heard_at >= 2 * self._config.heartbeat

    def leader_is_live(self, now: int) -> bool:
        """Stickiness: a leader was heard within the election timeout and nothing speaks against it."""
        if self.evidence(now):
            return False
        return now - self._state.leader_heard_at < self._config.election_timeout

    # the candidate

    def campaign(
        self, now: int, *, pre_vote: bool, handover: bool = False, forming: Generation | None = None
    ) -> bool:
        """Ask everybody for a vote; True where our own is already enough."""
        state = self._state
        self._forming = forming
        self._votes = {self._config.addr}
        self.postpone(now)
        state.leader = None
        if pre_vote:
            state.role = Role.PRE_CANDIDATE
            if self._evidence_own:
                # Others may lack evidence for a moment. To ask for a pre-vote again changes nothing anywhere.
                self.deadline = now + self._config.heartbeat * 2 + self._rng.randrange(self._config.heartbeat)
        else:
            state.role = Role.CANDIDATE
            state.harden(term=state.term + 1, vote=self._config.addr, forming=forming)
            self._voted_ts = state.election_ts = now + self._wall_offset
        self._asked_ts, self._asked_at = now + self._wall_offset, now
        state.ready.role_changed = True
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
        return len(self._votes) >= self._config.quorum

    def on_vote(self, sender: Sender, ack: LeaderReqAck, now: int) -> bool:
        """Count an answer; True where the majority is reached just now."""
        state = self._state
        asking = Role.PRE_CANDIDATE if ack.pre_vote else Role.CANDIDATE
        expected = state.term + 1 if ack.pre_vote else state.term
        if state.role is not asking or not ack.granted or ack.term != expected:
            return False
        if ack.election_ts != self._asked_ts:
            return False
        if sender.fresh and self._forming is None:
            return False  # whoever forgot its promises cannot make one
        if self._forming is not None and now - self._asked_at >= self._config.election_timeout // 3:
            return False  # a candidate that was frozen: its voters may have promised another generation since
        had = len(self._votes)
        self._votes.add(sender.addr)
        return had < self._config.quorum <= len(self._votes)

    def on_priority(self, message: LeaderSwitchPriority, now: int) -> bool:
        """Two candidates met in this term; True where this one is to ask again at once."""
        state = self._state
        if state.role is not Role.CANDIDATE or message.term != state.term:
            return False
        if message.vote_host == self._config.addr:
            return True
        state.role = Role.FOLLOWER
        state.ready.role_changed = True
        self.postpone(now)
        return False

    # the voter

    def grants(self, sender: Sender, request: LeaderReq, now: int, *, may_form: bool) -> bool:
        """Whether this node gives its vote. Term and stickiness were looked at by the caller for real votes."""
        state = self._state
        if request.forming is not None:
            eligible = state.hard.fresh and sender.fresh and may_form
        else:
            eligible = not state.hard.fresh and not sender.fresh
        if not eligible or not state.up_to_date(request.last_index, request.last_term):
            return False
        if request.pre_vote:
            return (
                request.term > state.term and state.role is not Role.LEADER and not self.leader_is_live(now)
            )
        return request.term == state.term and state.hard.vote in ("", sender.addr)

    def vote(self, sender: Sender, request: LeaderReq, now: int) -> None:
        state = self._state
        state.harden(vote=sender.addr, forming=request.forming)
        self._voted_ts = request.election_ts
        self.postpone(now)

    def answer(self, sender: Sender, request: LeaderReq, *, granted: bool) -> None:
        state = self._state
        term = request.term if granted else state.term
        state.send(sender.addr, LeaderReqAck(request.election_ts, term, granted, request.pre_vote))
        other = state.hard.vote
        if granted or request.pre_vote or request.term != state.term or other in ("", sender.addr):
            return
        if state.role is Role.LEADER or state.leader is not None:
            return
        # Two candidates in one term: whoever asked first has priority; ties go to the smaller address.
        first = min((self._voted_ts, other), (request.election_ts, sender.addr))
        message = LeaderSwitchPriority(first[1], first[0], state.term)
        for candidate in (other, sender.addr):
            if candidate != self._config.addr:
                state.send(candidate, message)

    def announce_death(self, leader: str, now: int) -> None:
        for peer in self._config.peers:
            if peer != leader:
                self._state.send(peer, LeaderDead(leader, now + self._wall_offset, self._state.term))
