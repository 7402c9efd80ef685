"""Changes on their way: from the node that took them, through the leader's order, back to whoever asked.

A change keeps its req_id through every retry, and the leader looks it up in the replicated table first: so a change
that meets a change of leaders takes effect once. Its outcome is told when its ack level is reached, or refused at its
deadline; where it may have been sent, the refusal says that the outcome is unknown.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from .held import Held, Lack
from .messages import AckLevel, Forward, ForwardReply, NeverOrdered, Refusal
from .state import ALWAYS_LATER, Completion, NodeState, Role
from .submission import Stage, Submission

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from .config import CoreConfig
    from .leases import Leases
    from .replication import Replication
    from .requests import RequestTable

# A change that so many leaders had, each of whom was lost with it, may be what they were lost by: no other one gets it.
LEADERS_MAX = 3
# So many changes, or so many bytes of them, are ordered, sent or refused in one go: a new leader may find 20,000.
AT_ONCE = 64
AT_ONCE_BYTES = 128 << 10


class Evaluator(Protocol):
    """Decides what a command does, on the leader alone."""

    def evaluate(self, command: Any, index: int, now: int) -> tuple[bytes, bytes]:
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


class Submissions:
    def __init__(
        self,
        config: CoreConfig,
        state: NodeState,
        replication: Replication,
        leases: Leases,
        table: RequestTable,
        evaluator: Evaluator,
        size_of: Callable[[Any], int],
    ) -> None:
        self._config = config
        self._state = state
        self._replication = replication
        self._leases = leases
        self._table = table
        self._evaluator = evaluator
        self._size_of = size_of
        self._pending: dict[tuple[str | None, str], Submission] = {}
        self._bytes = 0
        # How many of them are at level all, and how many came from each peer.
        self._at_all = 0
        self._origins: dict[str, int] = {}
        # Only what is ordered or applying can be completed by progress: in index order by insertion.
        self._ordered: dict[tuple[str | None, str], Submission] = {}
        # What is to be ordered or sent as soon as there is time, in the order in which it came.
        self._soon: deque[Submission] = deque()
        self._more_to_release = False
        # What waits for room in the order, or in what holds the caches.
        self._held = Held(self._lack_of, evaluator.line_of)
        # The index of this leader's first entry; it answers once that is applied. None: it does not accept.
        self.accepts_from: int | None = None
        self._accepting: int | None = None
        # `tick` has nothing to do before this time.
        self.due_at = ALWAYS_LATER

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def pending_bytes(self) -> int:
        return self._bytes

    def awaited(self) -> Collection[str] | None:
        """The peers whose changes are on the way here; None where every host is waited for."""
        return None if self._at_all else self._origins

    # taking changes

    def submit(self, submission: Submission, now: int) -> bool:
        """Take a change; False where too many are pending and it was refused at once."""
        key = submission.key
        submission.size = self._size_of(submission.command)
        if key in self._pending:
            # The worker asks again on a new connection: the answer goes to the latest.
            known = self._pending[key]
            if known.token is not None:
                earlier = Completion(known.token, refusal=Refusal.OUTCOME_UNKNOWN)
                self._state.ready.completions.append(earlier)
            known.token, known.deadline = submission.token, max(known.deadline, submission.deadline)
            return True
        full = len(self._pending) >= self._config.pending_requests
        if full or self._bytes + submission.size > self._config.pending_bytes:
            return self._turn_away(submission)
        self._pending[key] = submission
        self._bytes += submission.size
        self._at_all += submission.level is AckLevel.ALL
        if submission.origin is not None:
            self._origins[submission.origin] = self._origins.get(submission.origin, 0) + 1
        if self._soon:
            self._advance_soon([submission])  # it must not overtake those
        else:
            self._advance(submission, now)
        return True

    def _turn_away(self, submission: Submission) -> bool:
        """There is no room for it. Of one that was sent before, that may not mean that it did not happen."""
        known = self._table.find(submission.req_id)
        if known is not None and known.index <= self._state.applied and submission.level is not AckLevel.ALL:
            submission.index, submission.outcome = known
            submission.term = self._state.log.term_at(known.index) or 0
            self._complete(submission)
            return True
        happened = submission.maybe or known is not None
        self._refuse(submission, Refusal.OUTCOME_UNKNOWN if happened else Refusal.BUSY)
        return False

    def on_forward(self, sender: str, forward: Forward, now: int) -> None:
        """Take a change that another node forwarded; only the leader does, and one that is about to accept."""
        if not self._will_accept():
            self._reply(
                sender, ForwardReply(forward.req_id, refusal=Refusal.NOT_LEADER, command=forward.command)
            )
            return
        deadline = now + (forward.timeout or self._config.resend)
        submission = Submission(forward.req_id, forward.command, forward.level, deadline, origin=sender)
        submission.since = forward.since
        if forward.since and self._leads() and self._may_be_forgotten(submission):
            self._refuse(submission, Refusal.OUTCOME_UNKNOWN)
            return
        self.submit(submission, now)

    def _may_be_forgotten(self, submission: Submission) -> bool:
        """Whether it may have taken effect and left the table since: trying again could count it twice.

        A `since` that this order has not reached is of an earlier generation and says nothing of this one: nor later,
        when the order has reached it and may have forgotten what took effect before.
        """
        says_nothing = submission.since > self._state.log.last_index
        return (says_nothing or self._table.floor > submission.since) and (
            self._table.find(submission.req_id) is None
        )

    def advance_some(self, now: int) -> None:
        """Go on with what could not be done at once."""
        if not self._soon or self._applies_what_is_older():
            return
        size = 0
        for _ in range(AT_ONCE):
            if not self._soon or size >= AT_ONCE_BYTES:
                return
            submission = self._soon.popleft()
            submission.soon = False
            known = self._pending.get(submission.key)
            if known is submission and submission.stage in (Stage.WAITING, Stage.FORWARDED):
                size += submission.size
                self._advance(submission, now)

    def _advance_soon(self, submissions: Iterable[Submission]) -> None:
        for submission in submissions:
            if not submission.soon:
                submission.soon = True
                self._soon.append(submission)

    def _forget_soon(self) -> None:
        for submission in self._soon:
            submission.soon = False
        self._soon.clear()

    @property
    def unfinished(self) -> bool:
        """Whether there is something that only waits for the next go."""
        return bool(self._soon) or self._more_to_release

    def _leads(self) -> bool:
        accepts = self.accepts_from
        return self._state.role is Role.LEADER and accepts is not None and self._state.applied >= accepts

    def _will_accept(self) -> bool:
        """Whether this node leads and accepts what comes, now or once its first entry is applied."""
        return self._state.role is Role.LEADER and self.accepts_from is not None

    def _advance(self, submission: Submission, now: int) -> None:
        """Order it here or send it to the leader, whichever is possible now."""
        if submission.leaders >= LEADERS_MAX and submission.given_in != self._state.term:
            self._refuse(submission, Refusal.OUTCOME_UNKNOWN)
            return
        if self._leads():
            self._first_sent(submission)
            self._order_or_hold(submission, now)
        elif submission.origin is not None and not self._will_accept():
            self._refuse(submission, Refusal.NOT_LEADER)
        elif self._state.role is Role.FOLLOWER and self._state.leader is not None:
            self._first_sent(submission)
            submission.again = submission.maybe
            submission.stage, submission.sent_at, submission.maybe = Stage.FORWARDED, now, True
            submission.given(self._state.term)
            timeout = max(submission.deadline - now, 1)
            message = Forward(
                submission.req_id, submission.command, submission.level, submission.since, timeout
            )
            self._state.send(self._state.leader, message)
        else:
            submission.sent_at = now  # nobody takes it now: the next try is not at once
        self._watch(submission)

    def _first_sent(self, submission: Submission) -> None:
        if not submission.since:
            submission.since = max(self._state.commit, self._state.heard_commit, 1)

    def _order_or_hold(self, submission: Submission, now: int) -> None:
        # What another node forwarded may be in the order since it came, if it had to wait for the first entry.
        sent_before = submission.maybe or submission.origin is not None
        if sent_before and self._may_be_forgotten(submission):
            self._refuse(submission, Refusal.OUTCOME_UNKNOWN)
        elif self._table.find(submission.req_id) is None and self._held.takes(submission):
            # It is not in the order, and nobody but this leader puts it there: what the table forgets while it waits
            # is not this one.
            submission.stage, submission.sent_at = Stage.HELD, now
        else:
            self._order(submission, now)

    def _lack_of(self, submission: Submission) -> Lack | None:
        """Whether the order has no room for it, or what holds the caches."""
        if not self._replication.has_room():
            return Lack.SHARED
        return self._evaluator.lacks(submission.command, submission.size)

    def _order(self, submission: Submission, now: int) -> None:
        known = self._table.find(submission.req_id)
        if known is None:
            index = self._state.log.last_index + 1
            try:
                effect, outcome = self._evaluator.evaluate(submission.command, index, now)
            except NeverOrdered as never:
                self._refuse(submission, never.refusal, str(never))
                return
            entry = self._replication.append(effect, submission.req_id, outcome, now)
            self._table.record(entry)
            submission.term = entry.term
        else:
            index, outcome = known
            submission.term = self._state.log.term_at(index) or 0
        submission.stage, submission.maybe = Stage.ORDERED, True
        submission.given(self._state.term)
        submission.index, submission.outcome = index, outcome
        self._ordered[submission.key] = submission

    def propose(self, effect: bytes, now: int) -> bool:
        """Put a change of the node's own into the order, such as an eviction; False on a follower."""
        if not self._leads() or not self._replication.has_room(times=2):
            return False
        self._replication.append(effect, "", b"", now)
        return True

    def release(self, now: int) -> None:
        """Order what waited for room, as far as there is some."""
        self._more_to_release = False
        if not self._held or self._applies_what_is_older():
            return
        count = size = 0
        for submission in self._held.released():
            self._order(submission, now)
            count, size = count + 1, size + submission.size
            if count >= AT_ONCE or size >= AT_ONCE_BYTES:
                self._more_to_release = bool(self._held)
                return

    def _applies_what_is_older(self) -> bool:
        """Whether something from before this leadership is about to be applied: the evaluator knows nothing of that."""
        applied = self._state.ready.apply
        return bool(applied) and self._leads() and applied[0].index <= (self.accepts_from or 0)

    # answers

    def on_reply(self, sender: str, reply: ForwardReply, now: int) -> None:
        submission = self._pending.get((None, reply.req_id))
        if submission is None or submission.stage is not Stage.FORWARDED:
            return
        if reply.refusal is Refusal.NOT_LEADER:
            submission.stage = Stage.WAITING
            submission.sent_at = now
            submission.given_back()
            if self._state.leader == sender:
                self._watch(submission)
                return  # it does not accept yet: try again after a moment
            self._advance(submission, now)
        elif reply.refusal is not None:
            if submission.again:
                self._refuse(submission, Refusal.OUTCOME_UNKNOWN)
            else:
                self._refuse(submission, reply.refusal, reply.reason)
        else:
            submission.outcome, submission.index, submission.term = reply.outcome, reply.index, reply.term
            self._committed_elsewhere(submission)

    def _committed_elsewhere(self, submission: Submission) -> None:
        """The leader acknowledged it; at quorum and beyond this host must be able to read it first."""
        if submission.level in (AckLevel.LEADER, AckLevel.ONCE):
            self._complete(submission)
            return
        submission.stage = Stage.APPLYING
        self._ordered[submission.key] = submission
        if self._state.log.term_at(submission.index) == submission.term:
            self._state.commit_to(submission.index)
            self._state.apply_committed()

    def progressed(self, now: int) -> None:
        """Complete what has reached its level by now."""
        done = [s for s in self._ordered.values() if self._reached(s, now)] if self._ordered else ()
        for submission in done:
            self._complete(submission)

    def _reached(self, submission: Submission, now: int) -> bool:
        index = submission.index
        if submission.stage is Stage.APPLYING or self._state.role is not Role.LEADER:
            return submission.stage is Stage.APPLYING and self._state.applied >= index
        match submission.level:
            case AckLevel.LEADER:
                return True
            case AckLevel.ONCE:
                return self._replication.on_second_node(index)
            case AckLevel.QUORUM:
                return self._state.applied >= index
            case AckLevel.ALL:
                return self._leases.on_every_host(index, now)

    def recorded(self, req_id: str, index: int, outcome: bytes) -> None:
        """A change of this node was applied here while another node led: that is its answer, too."""
        submission = self._pending.get((None, req_id))
        if submission is None or (submission.stage is Stage.ORDERED and self._state.role is Role.LEADER):
            return
        if submission.level is not AckLevel.ALL:
            submission.index, submission.outcome = index, outcome
            self._complete(submission)

    def waits_for_leases(self) -> bool:
        return self._at_all > 0

    # the course of time

    def leadership_changed(self) -> None:
        """Somebody else leads, or nobody: try again with the same req_id, or hand back what was forwarded."""
        self._accepting = None
        self._held.clear()
        self._more_to_release = False
        self._forget_soon()
        if self._state.role is not Role.LEADER:
            self.accepts_from = None
            self._evaluator.abandon()
        for submission in list(self._pending.values()):
            if submission.stage is Stage.APPLYING:
                continue
            self._ordered.pop(submission.key, None)
            submission.stage = Stage.WAITING
            self._advance_soon([submission])

    def connection_lost(self) -> None:
        """What was forwarded over it may never have arrived: send it again."""
        self._advance_soon(one for one in self._pending.values() if one.stage is Stage.FORWARDED)

    def generation_changed(self) -> None:
        """What was sent in another order may be sent in this one, and forgotten: where that began is not known."""
        for submission in self._pending.values():
            submission.since = min(submission.since, 1)

    def accept_due(self) -> bool:
        """Whether `accept` has yet to order what waited."""
        return self._accepting != self.accepts_from

    @property
    def may_be_due(self) -> bool:
        """Whether anything waits for `accept` or for room; without, nothing is due and need not be looked for."""
        return bool(self._held) or self._accepting != self.accepts_from

    def order_due(self) -> bool:
        """Whether something that waited can be ordered now."""
        return self._accepting != self.accepts_from or self._held.may_go()

    def accept(self) -> None:
        """This leader has applied its first entry: order what waited, once."""
        if not self.accept_due():
            return
        self._accepting = self.accepts_from
        self._forget_soon()
        self._advance_soon(one for one in self._pending.values() if one.stage is Stage.WAITING)

    def tick(self, now: int) -> None:
        """Try again what waits for too long, and refuse what is past its deadline."""
        if now < self.due_at:
            return
        self.due_at = ALWAYS_LATER
        refused = 0
        for submission in list(self._pending.values()):
            if now >= submission.deadline:
                if refused == AT_ONCE:
                    self.due_at = now  # the others as soon as others have had their turn
                    break
                refused += 1
                # Another copy of what a node forwarded may still come; that node has its own deadline.
                unknown = submission.maybe or submission.origin is not None
                full = submission.stage is Stage.HELD and self._replication.has_room()
                why = Refusal.BUSY if full else Refusal.NO_QUORUM
                self._refuse(submission, Refusal.OUTCOME_UNKNOWN if unknown else why)
            elif now < self._stalls_at(submission):
                self._watch(submission)
            elif submission.stage is Stage.HELD:
                self._give_up_holding(submission, now)
            else:
                self._advance_soon([submission])

    def _give_up_holding(self, submission: Submission, now: int) -> None:
        """The replicas have no room for it: say so early. Where it is the order that has none, that may be a moment.

        This copy of it is gone with that, and was never ordered. Who has sent another one knows that, see on_reply.
        """
        if self._replication.has_room():
            self._refuse(submission, Refusal.OUTCOME_UNKNOWN if submission.maybe else Refusal.BUSY)
        else:
            submission.sent_at = now
            self._watch(submission)

    def _watch(self, submission: Submission) -> None:
        self.due_at = min(self.due_at, submission.deadline, self._stalls_at(submission))

    def _stalls_at(self, submission: Submission) -> int:
        """When to try again what has had no answer; a new leader is itself the reason to."""
        match submission.stage:
            case Stage.WAITING if self._state.leader is not None:
                return submission.sent_at + self._config.heartbeat
            case Stage.FORWARDED:
                return submission.sent_at + self._config.patience(submission.size)
            case Stage.HELD:
                return submission.sent_at + self._holds_for(submission)
            case _:
                return ALWAYS_LATER

    def _holds_for(self, submission: Submission) -> int:
        """How long it may wait for room: there is time to try again, and a node does not send it twice meanwhile."""
        left = submission.deadline - submission.sent_at
        return (left if submission.origin is None else min(left, self._config.resend)) // 2

    # the ends

    def _complete(self, submission: Submission) -> None:
        self._drop(submission)
        if submission.origin is None:
            completion = Completion(submission.token, submission.outcome, submission.index)
            self._state.ready.completions.append(completion)
        else:
            reply = ForwardReply(
                submission.req_id,
                submission.index,
                submission.term,
                submission.outcome,
                command=submission.command,
            )
            self._reply(submission.origin, reply)

    def _refuse(self, submission: Submission, refusal: Refusal, reason: str = "") -> None:
        self._drop(submission)
        if submission.origin is None:
            completion = Completion(submission.token, refusal=refusal, reason=reason)
            self._state.ready.completions.append(completion)
        else:
            reply = ForwardReply(
                submission.req_id, refusal=refusal, command=submission.command, reason=reason
            )
            self._reply(submission.origin, reply)

    def _reply(self, peer: str, reply: ForwardReply) -> None:
        self._state.send(peer, reply)

    def _drop(self, submission: Submission) -> None:
        key = submission.key
        if self._pending.get(key) is submission:
            del self._pending[key]
            self._bytes -= submission.size
            self._at_all -= submission.level is AckLevel.ALL
            if submission.origin is not None:
                self._origins[submission.origin] -= 1
                if not self._origins[submission.origin]:
                    del self._origins[submission.origin]
        if self._ordered.get(key) is submission:
            del self._ordered[key]
        if submission.stage is Stage.HELD:
            self._held.drop(submission)
