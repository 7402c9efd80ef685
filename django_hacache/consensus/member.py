"""Membership: which messages concern a node, whom it follows, and when it starts over with nothing.

The layer under campaigns.py and core.py: it holds the rooms of the core together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .config import digest_of
from .election import Election
from .formation import Formation, new_identity
from .leases import Leases
from .messages import (
    Append,
    Generation,
    LeaderAck,
    LeaderAckAck,
    LeaderReq,
    LeaderReqAck,
    Message,
    Ping,
    Probe,
    ProbeReply,
    Sender,
)
from .replication import Replication
from .requests import Recorded, RequestTable
from .standstill import Standstill
from .state import NEVER, HardState, Installing, NodeState, Role
from .submissions import Evaluator, Submissions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random

    from .config import CoreConfig
    from .log import Log


class Member:
    """A host in a generation, as follower of a leader or of nobody. The arguments are those of Core."""

    def __init__(
        self,
        config: CoreConfig,
        hard: HardState,
        log: Log,
        *,
        applied: int,
        evaluator: Evaluator,
        now: int,
        rng: Random,
        requests: Iterable[tuple[str, Recorded]] = (),
        requests_floor: int = 0,
        wall_offset: int = 0,
        size_of: Callable[[Any], int] = len,
    ) -> None:
        self.config = config
        self._hosts = digest_of(config.hosts)
        self._rng = rng
        self._state = NodeState(hard, log, applied, now, config.apply_bytes)
        # What had been forgotten of the log itself is found out again, from the log.
        floor = min(requests_floor, log.base_index)
        self.table = RequestTable(config.request_table, config.request_table_bytes, requests, floor)
        for entry in log.between(log.base_index + 1, log.last_index):
            self.table.record(entry)
        self._replication = Replication(config, self._state)
        self._leases = Leases(config, self._state, self._replication)
        self._standstill = Standstill(config, self._state, self._replication)
        self._election = Election(config, self._state, rng, wall_offset, now)
        self._formation = Formation(config, self._state, rng, (now + wall_offset) // 1000)
        self._submissions = Submissions(
            config, self._state, self._replication, self._leases, self.table, evaluator, size_of
        )
        self._handing_over_until: int | None = None
        # Who was told to take over, and when it is told again.
        self._handover_sent = ""
        self._handover_again_at = NEVER
        # Whom this node's leader has named to take over, and who asked for a vote as if it had been.
        self._named = ""
        self._unnamed: tuple[Sender, LeaderReq] | None = None

    @property
    def hard(self) -> HardState:
        return self._state.hard

    @property
    def role(self) -> Role:
        return self._state.role

    def _counts_the_same_hosts(self, sender: Sender, now: int) -> bool:
        """Whether a majority is the same thing for the sender: those of two lists need have no host in common."""
        if sender.addr not in self.config.peers:
            return False
        if sender.hosts in ("", self._hosts):
            return True
        self._formation.met_another_list(now)
        return False

    def _belongs(self, sender: Sender, message: Message | None, now: int) -> bool:
        """Whether a message of who counts the same hosts is of our generation, or of one that this node may join."""
        if isinstance(message, Probe | ProbeReply):
            return True
        if isinstance(message, LeaderReq | LeaderReqAck) and self.hard.fresh and sender.fresh:
            # Fresh nodes form a generation together, whatever each had joined before.
            return True
        if sender.generation == self.hard.generation:
            if self._ahead_of_its_leader(message, now):
                self._start_over(self.hard.generation, term=0, vote="", fresh=True)
            return sender.generation is not None
        if sender.generation is None or not self._speaks_as_leader(message):
            return False
        return self._join(sender.generation, message, now)

    def _ahead_of_its_leader(self, message: Message | None, now: int) -> bool:
        """A fresh node that tried to form a generation must not stay in a term that its leader never reaches."""
        hard = self.hard
        if not hard.fresh or hard.generation is None or self._election.leader_is_live(now):
            return False
        return isinstance(message, Ping) and message.term < hard.term

    @staticmethod
    def _speaks_as_leader(message: Message | None) -> bool:
        return message is None or isinstance(message, Ping | Append | LeaderAck)

    def _join(self, generation: Generation, message: Message | None, now: int) -> bool:
        """Meet the leader of another generation: join it where nothing of ours is worth keeping."""
        hard = self.hard
        if hard.forming == generation and getattr(message, "term", None) == hard.term:
            # This node helped to form it: it counts from the first moment.
            self._start_over(generation, term=hard.term, vote=hard.vote, fresh=False)
            return True
        if hard.fresh:
            if hard.generation is not None and self._election.leader_is_live(now):
                return False
            self._start_over(generation, term=0, vote="", fresh=True)
            return True
        if hard.generation is not None and generation <= hard.generation:
            return False
        if not self._has_committed(message):
            return False
        if self.role is Role.LEADER and not self._leases.lost_quorum(now):
            return False
        if self._election.leader_is_live(now):
            return False
        self._start_over(generation, term=0, vote="", fresh=True)
        return True

    @staticmethod
    def _has_committed(message: Message | None) -> bool:
        """Whether a leader's message shows that a majority entered its generation, so that ours has none any more.

        A candidate may have entered it alone, while the others formed the one that lives.
        """
        return isinstance(message, Ping | Append) and message.commit_index > 0

    def _start_over(self, generation: Generation | None, *, term: int, vote: str, fresh: bool) -> None:
        """Enter a generation with nothing in the replica and in the log."""
        state = self._state
        self._step_aside()
        ready = state.ready
        # What was said in this batch would leave under the new identity: unsaid is always right, that would be a lie.
        ready.messages.clear()
        ready.snapshots_to.clear()
        state.start_over(0, 0)
        state.heard_commit = 0
        self.table.clear()
        if state.hard.generation not in (None, generation):
            self._submissions.generation_changed()
        self._replication.forget_verified()
        self._leases.revoke()
        # What an earlier leader found level, or admits at this moment, is no more: so it is another incarnation.
        incarnation = new_identity(self._rng) if fresh else state.hard.incarnation
        state.harden(
            incarnation=incarnation,
            generation=generation,
            term=term,
            vote=vote,
            fresh=fresh,
            forming=None,
            installing=None,
        )

    def _begin_anew(self, append: Append) -> None:
        """The log of this node's leader no longer reaches it: make room for the leader's replica.

        The log that goes is of no use: what of it was committed is in the leader's, before prev_index. A late copy of
        this Append finds prev_index in the log, or committed, and changes nothing: it could undo an acknowledgement.
        """
        state = self._state
        if state.log.term_at(append.prev_index) == append.prev_term or append.prev_index <= state.commit:
            return
        state.start_over(append.prev_index, append.prev_term)
        state.harden(installing=Installing(b"", append.prev_index))
        self.table.clear()
        self._replication.forget_verified()
        self._leases.revoke()

    def _step_aside(self) -> None:
        state = self._state
        if state.role is not Role.FOLLOWER:
            state.ready.role_changed = True
        state.role = Role.FOLLOWER
        state.leader = None
        self._handing_over_until = None
        self._named, self._unnamed = "", None
        self._leases.forget()

    def _become_follower(self, term: int, leader: str | None, now: int) -> None:
        state = self._state
        changed = state.leader != leader or state.role is not Role.FOLLOWER or term > state.term
        was_leader = state.role is Role.LEADER
        if term > state.term:
            state.harden(term=term, vote="", forming=None)
        if not changed:
            return
        self._step_aside()
        state.leader = leader
        state.ready.role_changed = True
        if was_leader:
            # From now on it votes for others: what it promised itself as leader is over.
            self._leases.revoke()
            self._election.postpone(now)
        self._submissions.leadership_changed()

    def _follow(self, sender: Sender, term: int, now: int) -> bool:
        """Follow whoever speaks as the leader of `term`; False where the term is over."""
        state = self._state
        if term < state.term:
            return False
        if term == state.term and state.leader not in (None, sender.addr):
            # A term has one leader, and votes are given once: one of the two has none.
            state.ready.refused.append((sender.addr, f"to lead term {term}, which {state.leader} leads"))
            return False
        if term > state.term or state.leader != sender.addr:
            self._become_follower(term, sender.addr, now)
            state.send(sender.addr, LeaderAckAck(term))
        self._election.leader_heard(now)
        return True
