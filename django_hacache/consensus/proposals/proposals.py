"""The way of a change: from the node that took it, through the leader's order, back to whoever asked.

    stage      waits for                                      then
    WAITING    a leader, or a moment before the next try      FORWARDED by a follower; HELD or ORDERED by the leader
    FORWARDED  the leader's answer                            APPLYING or done; WAITING where that does not lead
    HELD       room in the order and in the replicas          ORDERED
    ORDERED    its ack level, in this leader's log            done; WAITING where the leadership ends
    APPLYING   this node to apply what is committed           done

A change keeps its req_id through every retry, and the leader looks it up in the replicated table first: so a change
that meets a change of leaders takes effect once. Its outcome is told when its ack level is reached, or it is refused at
its deadline; where it may have been sent, the refusal says that the outcome is unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_hacache.consensus.config import CoreConfig
from django_hacache.consensus.dedup import RequestTable
from django_hacache.consensus.leader.heartbeats import Heartbeats
from django_hacache.consensus.leader.replication import LeaderReplication
from django_hacache.consensus.messages import (
    AckLevel,
    Entry,
    Forward,
    ForwardReply,
    Generation,
    Refusal,
    Sender,
)
from django_hacache.consensus.proposals.ordering import AT_ONCE, AT_ONCE_BYTES, Ordering
from django_hacache.consensus.proposals.pending import Pending
from django_hacache.consensus.proposals.proposal import Proposal, Stage
from django_hacache.consensus.state import ALWAYS_LATER, NodeState, Role

if TYPE_CHECKING:
    from collections.abc import Collection

# A change that so many leaders had, each of whom was lost with it, may be what they were lost by: no other one gets it.
LEADERS_MAX = 3


class Proposals:
    def __init__(
        self,
        config: CoreConfig,
        state: NodeState,
        replication: LeaderReplication,
        heartbeats: Heartbeats,
        table: RequestTable,
        pending: Pending,
        ordering: Ordering,
    ) -> None:
        self._config = config
        self._state = state
        self._replication = replication
        self._heartbeats = heartbeats
        self._table = table
        self._pending = pending
        self._ordering = ordering
        # `tick` has nothing to do before this time.
        self.due_at_ms = ALWAYS_LATER

    def __len__(self) -> int:
        return len(self._pending.by_key)

    def awaited(self) -> Collection[str] | None:
        """The peers whose changes are on the way here; None where every host is waited for."""
        return None if self._pending.at_all else self._pending.origins

    # taking changes

    def submit(self, proposal: Proposal, now_ms: int) -> bool:
        """Take a change; False where too many are pending and it was refused at once."""
        pending = self._pending
        known = pending.by_key.get(proposal.key)
        if known is not None:
            pending.ask_again(known, proposal)
            return True
        if not pending.take(proposal):
            return self._turn_away(proposal)
        if pending.soon:
            pending.queue([proposal])  # it must not overtake those
        else:
            self._advance(proposal, now_ms)
        return True

    def _turn_away(self, proposal: Proposal) -> bool:
        """There is no room for it. Of one that was sent before, that may not mean that it did not happen."""
        known = self._table.find(proposal.req_id)
        if known is not None and known.index <= self._state.applied and proposal.level is not AckLevel.ALL:
            proposal.index, proposal.outcome = known
            proposal.term = self._state.log.term_at(known.index) or 0
            self._pending.complete(proposal)
            return True
        happened = proposal.may_have_applied or known is not None
        self._pending.refuse(proposal, Refusal.OUTCOME_UNKNOWN if happened else Refusal.BUSY)
        return False

    def on_forward(self, sender: Sender, forward: Forward, now_ms: int) -> None:
        """Take a change that another node forwarded; only the leader does, and one that is about to accept."""
        deadline_ms = now_ms + (forward.timeout_ms or self._config.resend_ms)
        proposal = Proposal(forward.req_id, forward.command, forward.level, deadline_ms, origin=sender.addr)
        proposal.since = forward.since
        if not self._ordering.will_accept:
            self._pending.refuse(proposal, Refusal.NOT_LEADER)
        elif forward.since and self._ordering.accepts and self._ordering.may_be_forgotten(proposal):
            self._pending.refuse(proposal, Refusal.OUTCOME_UNKNOWN)
        else:
            self.submit(proposal, now_ms)

    # going on

    @property
    def unfinished(self) -> bool:
        """Whether there is something that only waits for the next go."""
        return bool(self._pending.soon) or self._ordering.more_to_release

    def advance_some(self, now_ms: int) -> None:
        """Go on with what could not be done at once."""
        soon = self._pending.soon
        if not soon or self._ordering.applies_what_is_older():
            return
        size = 0
        for _ in range(AT_ONCE):
            if not soon or size >= AT_ONCE_BYTES:
                return
            proposal = soon.popleft()
            proposal.soon = False
            known = self._pending.by_key.get(proposal.key)
            if known is proposal and proposal.stage in (Stage.WAITING, Stage.FORWARDED):
                size += proposal.size
                self._advance(proposal, now_ms)

    def _advance(self, proposal: Proposal, now_ms: int) -> None:
        """Order it here or send it to the leader, whichever is possible now."""
        state = self._state
        if proposal.leaders >= LEADERS_MAX and proposal.given_in != state.term:
            self._pending.refuse(proposal, Refusal.OUTCOME_UNKNOWN)
            return
        if self._ordering.accepts:
            self._first_sent(proposal)
            self._ordering.order_or_hold(proposal, now_ms)
        elif proposal.origin is not None and not self._ordering.will_accept:
            self._pending.refuse(proposal, Refusal.NOT_LEADER)
        elif state.role is Role.FOLLOWER and state.leader is not None:
            self._first_sent(proposal)
            self._forward(proposal, state.leader, now_ms)
        else:
            proposal.sent_at_ms = now_ms  # nobody takes it now: the next try is not at once
        self._watch(proposal)

    def _first_sent(self, proposal: Proposal) -> None:
        if not proposal.since:
            proposal.since = max(self._state.commit, self._state.heard_commit, 1)

    def _forward(self, proposal: Proposal, leader: str, now_ms: int) -> None:
        proposal.was_resent = proposal.may_have_applied
        proposal.stage, proposal.sent_at_ms, proposal.may_have_applied = Stage.FORWARDED, now_ms, True
        proposal.given(self._state.term)
        timeout_ms = max(proposal.deadline_ms - now_ms, 1)
        message = Forward(proposal.req_id, proposal.command, proposal.level, proposal.since, timeout_ms)
        self._state.send(leader, message)

    def leadership_changed(self) -> None:
        """Somebody else leads, or nobody: try again with the same req_id, or hand back what was forwarded."""
        pending = self._pending
        self._ordering.leadership_changed()
        pending.empty_queue()
        for proposal in pending.by_key.values():
            if proposal.stage is not Stage.APPLYING:
                pending.ordered.pop(proposal.key, None)
                proposal.stage = Stage.WAITING
                pending.queue([proposal])

    def connection_lost(self) -> None:
        """What was forwarded over it may never have arrived: send it again."""
        pending = self._pending
        pending.queue(one for one in pending.by_key.values() if one.stage is Stage.FORWARDED)

    def generation_changed(self) -> None:
        """What was sent in another order may be sent in this one, and forgotten: where that began is not known."""
        for proposal in self._pending.by_key.values():
            proposal.since = min(proposal.since, 1)

    def generation_known(self, generation: Generation) -> None:
        """This node had none: the words of its workers may be of this one."""
        for proposal in self._pending.by_key.values():
            proposal.look_at_all_of(generation)

    # answers

    def on_forward_reply(self, sender: Sender, reply: ForwardReply, now_ms: int) -> None:
        proposal = self._pending.by_key.get((None, reply.req_id))
        if proposal is None or proposal.stage is not Stage.FORWARDED:
            return
        if reply.refusal is Refusal.NOT_LEADER:
            proposal.stage = Stage.WAITING
            proposal.sent_at_ms = now_ms
            proposal.given_back()
            if self._state.leader == sender.addr:
                self._watch(proposal)  # it does not accept yet: try again after a moment
            else:
                self._advance(proposal, now_ms)
        elif reply.refusal is not None:
            if proposal.was_resent:
                self._pending.refuse(proposal, Refusal.OUTCOME_UNKNOWN)
            else:
                self._pending.refuse(proposal, reply.refusal, reply.reason)
        else:
            proposal.outcome, proposal.index, proposal.term = reply.outcome, reply.index, reply.term
            self._committed_elsewhere(proposal)

    def _committed_elsewhere(self, proposal: Proposal) -> None:
        """The leader acknowledged it; at quorum and beyond this host must be able to read it first."""
        if proposal.level in (AckLevel.LEADER, AckLevel.ONCE):
            self._pending.complete(proposal)
            return
        state = self._state
        proposal.stage = Stage.APPLYING
        self._pending.ordered[proposal.key] = proposal
        if state.log.term_at(proposal.index) == proposal.term:
            state.commit_to(proposal.index)
            state.apply_committed()

    def progressed(self, now_ms: int) -> None:
        """Complete what has reached its level by now."""
        ordered = self._pending.ordered
        if ordered:
            for proposal in [one for one in ordered.values() if self._has_reached_its_level(one, now_ms)]:
                self._pending.complete(proposal)

    def _has_reached_its_level(self, proposal: Proposal, now_ms: int) -> bool:
        index, state = proposal.index, self._state
        if proposal.stage is Stage.APPLYING or state.role is not Role.LEADER:
            return proposal.stage is Stage.APPLYING and state.applied >= index
        match proposal.level:
            case AckLevel.LEADER:
                return True
            case AckLevel.ONCE:
                return self._replication.on_second_node(index)
            case AckLevel.QUORUM:
                return state.applied >= index
            case AckLevel.ALL:
                return self._heartbeats.on_every_host(index, now_ms)

    def applied(self, entry: Entry) -> None:
        """A change of this node was applied here while another node led: that is its answer, too."""
        proposal = self._pending.by_key.get((None, entry.req_id))
        if proposal is None or (proposal.stage is Stage.ORDERED and self._state.role is Role.LEADER):
            return
        if proposal.level is not AckLevel.ALL:
            proposal.index, proposal.outcome = entry.index, entry.outcome
            self._pending.complete(proposal)

    # the course of time

    def tick(self, now_ms: int) -> None:
        """Try again what waits for too long, and refuse what is past its deadline."""
        if now_ms < self.due_at_ms:
            return
        self.due_at_ms = ALWAYS_LATER
        refused = 0
        for proposal in list(self._pending.by_key.values()):
            if now_ms >= proposal.deadline_ms:
                if refused == AT_ONCE:
                    self.due_at_ms = now_ms  # the others as soon as others have had their turn
                    break
                refused += 1
                self._refuse_late(proposal)
            elif now_ms < self._stalls_at_ms(proposal):
                self._watch(proposal)
            elif proposal.stage is Stage.HELD:
                self._give_up_holding(proposal, now_ms)
            else:
                self._pending.queue([proposal])

    def _refuse_late(self, proposal: Proposal) -> None:
        # Another copy of what a node forwarded may still come; that node has its own deadline.
        if proposal.may_have_applied or proposal.origin is not None:
            refusal = Refusal.OUTCOME_UNKNOWN
        elif proposal.stage is Stage.HELD and self._replication.has_room():
            refusal = Refusal.BUSY
        else:
            refusal = Refusal.NO_QUORUM
        self._pending.refuse(proposal, refusal)

    def _give_up_holding(self, proposal: Proposal, now_ms: int) -> None:
        """The replicas have no room for it: say so early. Where it is the order that has none, that may be a moment.

        This copy of it is gone with that, and was never ordered. Who has sent another one knows that: see
        on_forward_reply.
        """
        if self._replication.has_room():
            unknown = proposal.may_have_applied
            self._pending.refuse(proposal, Refusal.OUTCOME_UNKNOWN if unknown else Refusal.BUSY)
        else:
            proposal.sent_at_ms = now_ms
            self._watch(proposal)

    def _watch(self, proposal: Proposal) -> None:
        self.due_at_ms = min(self.due_at_ms, proposal.deadline_ms, self._stalls_at_ms(proposal))

    def _stalls_at_ms(self, proposal: Proposal) -> int:
        """When to try again what has had no answer; a new leader is itself the reason to."""
        match proposal.stage:
            case Stage.WAITING if self._state.leader is not None:
                return proposal.sent_at_ms + self._config.heartbeat_ms
            case Stage.FORWARDED:
                return proposal.sent_at_ms + self._config.patience_ms(proposal.size)
            case Stage.HELD:
                return proposal.sent_at_ms + self._holds_for_ms(proposal)
            case _:
                return ALWAYS_LATER

    def _holds_for_ms(self, proposal: Proposal) -> int:
        """How long it may wait for room: there is time to try again, and a node does not send it twice meanwhile."""
        left_ms = proposal.deadline_ms - proposal.sent_at_ms
        return (left_ms if proposal.origin is None else min(left_ms, self._config.resend_ms)) // 2
