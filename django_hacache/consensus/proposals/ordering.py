"""How a leader puts changes into the order: once, decided by the evaluator, and as many as there is room for.

A leader accepts once its replica has everything from before its term: commands are evaluated on that. What finds no
room in the order or in the replicas waits, see held.py.
"""

from __future__ import annotations

from typing import Any, Protocol

from django_hacache.consensus.dedup import RequestTable
from django_hacache.consensus.leader.replication import LeaderReplication
from django_hacache.consensus.messages import NeverOrdered, Refusal
from django_hacache.consensus.proposals.held import Lack
from django_hacache.consensus.proposals.pending import Pending
from django_hacache.consensus.proposals.proposal import Proposal, Stage
from django_hacache.consensus.state import NodeState, Role

# So many changes, or so many bytes of them, are ordered, sent or refused in one go: a new leader may find 20,000.
AT_ONCE = 64
AT_ONCE_BYTES = 128 << 10


class Evaluator(Protocol):
    """Decides what a command does, on the leader alone."""

    def evaluate(self, command: Any, index: int, now_ms: int) -> tuple[bytes, bytes]:
        """Return the effect and the outcome of `command`, given all that is applied or evaluated before it.

        The effect will have its place at `index`; the evaluator counts on it until it is applied. Raises NeverOrdered
        where there must be no such entry, as one that no connection takes or no replica can store; nothing is changed
        then.
        """
        ...

    def lacks(self, command: Any, size: int) -> Lack | None:
        """Which room in the replicas `command`, of so many bytes, would not find if it were ordered now."""
        ...

    def line_of(self, command: Any) -> str:
        """What has a limit of its own, which `command` counts for: it waits for room with others for the same."""
        ...

    def abandon(self) -> None:
        """The leadership ended: what was evaluated and not applied may never come."""
        ...


class Room:
    """That of the order, and that of what holds the caches."""

    def __init__(self, replication: LeaderReplication, evaluator: Evaluator) -> None:
        self._replication = replication
        self._evaluator = evaluator

    def lacks(self, proposal: Proposal) -> Lack | None:
        """Which room a change would not find if it were ordered now."""
        if not self._replication.has_room():
            return Lack.SHARED
        return self._evaluator.lacks(proposal.command, proposal.size)


class Ordering:
    def __init__(
        self,
        state: NodeState,
        replication: LeaderReplication,
        table: RequestTable,
        evaluator: Evaluator,
        pending: Pending,
    ) -> None:
        self._state = state
        self._replication = replication
        self._table = table
        self._evaluator = evaluator
        self._pending = pending
        # This leader accepts once it has applied the entry at this index: its first one.
        self._first = 0
        # The first one with which it has begun to order what waited for it.
        self._begun_with: int | None = None
        self.more_to_release = False

    # whether this node accepts

    def begin(self, first: int) -> None:
        """This node leads from the entry at `first` on, or goes on to after a hand-over that failed."""
        self._first = first

    @property
    def accepts(self) -> bool:
        """Whether this node leads, does not hand over, and has applied everything from before its term."""
        state = self._state
        return state.role is Role.LEADER and state.applied >= self._first and not state.handover.begun

    @property
    def will_accept(self) -> bool:
        """Whether this node leads and accepts what comes, now or once its first entry is applied."""
        return self._state.role is Role.LEADER and not self._state.handover.begun

    def leadership_changed(self) -> None:
        self._begun_with = None
        self._pending.held.clear()
        self.more_to_release = False
        if self._state.role is not Role.LEADER:
            self._evaluator.abandon()

    @property
    def may_be_due(self) -> bool:
        """Whether anything waits for `accept` or for room; without, nothing is due and need not be looked for."""
        return bool(self._pending.held) or self._begun_with != self._first

    def is_due(self) -> bool:
        """Whether something that waited can be ordered now."""
        return self._begun_with != self._first or self._pending.held.may_go()

    def accept(self) -> None:
        """This leader has applied its first entry: order what waited, once."""
        if self._begun_with != self._first:
            self._begun_with = self._first
            pending = self._pending
            pending.empty_queue()
            pending.queue(one for one in pending.by_key.values() if one.stage is Stage.WAITING)

    def applies_what_is_older(self) -> bool:
        """Whether something from before this leadership is about to be applied: the evaluator knows nothing of that."""
        applied = self._state.ready.apply
        return bool(applied) and self.accepts and applied[0].index <= self._first

    # ordering

    def order_or_hold(self, proposal: Proposal, now_ms: int) -> None:
        # What another node forwarded may be in the order since it came, if it had to wait for the first entry.
        sent_before = proposal.may_have_applied or proposal.origin is not None
        if sent_before and self.may_be_forgotten(proposal):
            self._pending.refuse(proposal, Refusal.OUTCOME_UNKNOWN)
            return
        if self._table.find(proposal.req_id) is None and self._pending.held.takes(proposal):
            # It is not in the order, and nobody but this leader puts it there: what the table forgets while it waits
            # is not this one.
            proposal.stage, proposal.sent_at_ms = Stage.HELD, now_ms
        else:
            self._order(proposal, now_ms)

    def may_be_forgotten(self, proposal: Proposal) -> bool:
        """Whether it may have taken effect and left the table since: trying again could count it twice."""
        # Protected: try_again_what_may_have_been_forgotten
        return self._table.floor > proposal.since and self._table.find(proposal.req_id) is None

    def _order(self, proposal: Proposal, now_ms: int) -> None:
        """Give it its place, or find the one that it has. Protected: forget_requests."""
        known = self._table.find(proposal.req_id)
        if known is None:
            index = self._state.log.last_index + 1
            try:
                effect, outcome = self._evaluator.evaluate(proposal.command, index, now_ms)
            except NeverOrdered as never:
                self._pending.refuse(proposal, never.refusal, str(never))
                return
            entry = self._replication.append(effect, proposal.req_id, outcome, now_ms)
            self._table.record(entry)
            proposal.term = entry.term
        else:
            index, outcome = known
            proposal.term = self._state.log.term_at(index) or 0
        proposal.stage, proposal.may_have_applied = Stage.ORDERED, True
        proposal.given(self._state.term)
        proposal.index, proposal.outcome = index, outcome
        self._pending.ordered[proposal.key] = proposal

    @property
    def may_propose(self) -> bool:
        """Whether `propose` would take a change. Own changes, such as evictions, have twice as much room as others."""
        return self.accepts and self._replication.has_room(times=2)

    def propose(self, effect: bytes, now_ms: int) -> bool:
        """Put a change of the node's own into the order; False where it may not."""
        if not self.may_propose:
            return False
        self._replication.append(effect, "", b"", now_ms)
        return True

    # what waits for room

    def release(self, now_ms: int) -> None:
        """Order what waited for room, as far as there is some."""
        self.more_to_release = False
        held = self._pending.held
        if not held or self.applies_what_is_older():
            return
        count = size = 0
        for proposal in held.released():
            self._order(proposal, now_ms)
            count, size = count + 1, size + proposal.size
            if count >= AT_ONCE or size >= AT_ONCE_BYTES:
                self.more_to_release = bool(held)
                return
