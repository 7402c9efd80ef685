"""The consensus core: messages, changes and the time go in, batches of effects come out.

Theory of operation. Every node runs one Core. It is a Raft node (terms, one vote a term, the up-to-date check, log
matching, commit by majority) with pre-vote, stickiness and check-quorum, so that only the loss of the leader or of the
majority ends a leadership. Heartbeats carry read leases. A node that lost its state is *fresh* and counts for nothing
until the leader admits it (formation.py).

The core has no clock, no socket and no source of randomness of its own. The shell calls one of `receive`, `tick`,
`submit` ... with the time in milliseconds, once or for everything that arrived together, then takes the effects with
`take_ready` and carries them out before it calls again. What must be sent or stored is in the Ready and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .campaigns import Campaigner
from .credible import flaw
from .log import Log
from .messages import (
    AckLevel,
    Append,
    AppendAck,
    Entry,
    Forward,
    ForwardReply,
    LeaderAck,
    LeaderAckAck,
    LeaderDead,
    LeaderReq,
    LeaderReqAck,
    LeaderSwitch,
    LeaderSwitchAck,
    LeaderSwitchPriority,
    Message,
    Ping,
    Pong,
    Probe,
    ProbeReply,
    Sender,
)
from .state import NEVER, HardState, Installing, NodeState, PeerView, Ready, Role
from .submission import Submission
from .transfer import HELD_LOGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random

    from .config import CoreConfig
    from .progress import Progress
    from .requests import Recorded
    from .submissions import Evaluator
    from .transfer import Part


class Core(Campaigner):
    """One node of the cluster.

    Args:
        config: who takes part, and all limits.
        hard: the durable state, or `fresh_state(rng)` where there is none.
        log: the durable tail of the log.
        applied: the index up to which the replica holds the log's effects.
        requests: the durable table of those recent requests that the log has dropped, oldest first.
        evaluator: decides what commands do while this node leads.
        now: the time, in milliseconds of a clock that never goes back.
        rng: randomness for timeouts and identities.
        wall_offset: what to add to `now` to get milliseconds since 1970; only ever breaks ties.
        size_of: bytes of a command, for the bound on pending ones.
    """

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
        super().__init__(
            config,
            hard,
            log,
            applied=applied,
            evaluator=evaluator,
            now=now,
            rng=rng,
            requests=requests,
            requests_floor=requests_floor,
            wall_offset=wall_offset,
            size_of=size_of,
        )
        # As whom this node speaks, and the state that says so.
        self._speaks: tuple[HardState, Sender] | None = None
        # Whether the latest Ready holds as much as it takes, and the next one more of the same: take that soon.
        self.unfinished = False
        # The time of the latest input whose consequences wait for take_ready.
        self._unsettled: int | None = None
        self._handlers: dict[type[Any], Callable[[Sender, Any, int], None]] = {
            Probe: self._on_probe,
            ProbeReply: self._on_nothing,
            LeaderReq: self._on_leader_req,
            LeaderReqAck: self._on_leader_req_ack,
            LeaderAck: self._on_leader_ack,
            LeaderAckAck: self._on_nothing,
            LeaderSwitch: self._on_leader_switch,
            LeaderSwitchAck: self._on_nothing,
            LeaderSwitchPriority: self._on_priority,
            LeaderDead: self._on_leader_dead,
            Ping: self._on_ping,
            Pong: self._on_pong,
            Append: self._on_append,
            AppendAck: self._on_append_ack,
            Forward: self._on_forward,
            ForwardReply: self._on_forward_reply,
        }

    # what the shell and its views may read

    @property
    def state(self) -> NodeState:
        return self._state

    @property
    def leader(self) -> str | None:
        return self._state.leader

    @property
    def accepts(self) -> bool:
        """Whether this node leads and has applied everything from before its term."""
        state, first = self._state, self._submissions.accepts_from
        return state.role is Role.LEADER and first is not None and state.applied >= first

    @property
    def accept_due(self) -> bool:
        """Whether what waited for this leader can be ordered as soon as it is told that time has passed."""
        return self._submissions.may_be_due and self.accepts and self._submissions.order_due()

    @property
    def handing_over(self) -> bool:
        return self._handing_over_until is not None

    @property
    def pending(self) -> int:
        return len(self._submissions)

    @property
    def pending_bytes(self) -> int:
        return self._submissions.pending_bytes

    @property
    def uncommitted(self) -> int:
        """Entries that this leader has put into the order and no majority has; 0 on a follower."""
        state = self._state
        return state.log.last_index - state.commit if self.role is Role.LEADER else 0

    @property
    def uncommitted_bytes(self) -> int:
        return self._replication.tail_bytes if self.role is Role.LEADER else 0

    def progress_of(self, peer: str) -> Progress | None:
        return self._replication.progress.get(peer)

    def sender(self) -> Sender:
        """How this node signs what it sends."""
        hard, speaks = self._state.hard, self._speaks
        if speaks is None or speaks[0] is not hard:
            sender = Sender(self.config.addr, hard.incarnation, hard.generation, hard.fresh, self._hosts)
            speaks = self._speaks = hard, sender
        return speaks[1]

    def leader_lease_left(self, now: int) -> int:
        return self._leases.leader_lease_left(now) if self.role is Role.LEADER else 0

    def has_quorum(self, now: int) -> bool:
        """Whether this node is, or lately heard, a leader with a majority."""
        if self.role is Role.LEADER:
            return not self._leases.lost_quorum(now)
        return self._state.leader is not None and self._election.leader_is_live(now)

    # inputs

    def receive(self, sender: Sender, message: Message, now: int) -> None:
        """Take a message of a peer."""
        if not self._counts_the_same_hosts(sender, now):
            return
        if not self._credible(sender, message, now):
            return
        self._state.peers[sender.addr] = PeerView(sender, now)
        self._formation.met(sender)
        if not self._belongs(sender, message, now):
            return
        leads = self.role is Role.LEADER and sender.generation == self.hard.generation
        if leads and self._replication.meet(sender, now):
            # It counts once it has answered a heartbeat, and may be the one that a majority lacks.
            self._leases.ping_soon(now)
        self._handlers[type(message)](sender, message, now)
        self._unsettled = now

    def _credible(self, sender: Sender, message: Message, now: int) -> bool:
        term, generation = self._state.term, self._formation.latest
        why = flaw(sender, message, term=term, generation=generation, now=now)
        if why is not None:
            self._state.ready.refused.append((sender.addr, why))
        return why is None

    def tick(self, now: int) -> None:
        """Do what is due. Call at `next_wakeup`, or more often."""
        if self.role is Role.LEADER:
            self._tick_leader(now)
        else:
            self._tick_follower(now)
        self._submissions.tick(now)
        self._unsettled = now

    def submit(
        self,
        req_id: str,
        command: Any,
        level: AckLevel,
        token: Any,
        *,
        timeout: int,
        now: int,
        since: int = 0,
    ) -> bool:
        """Take a change of this host. Its Completion carries `token`, within `timeout` milliseconds.

        since: of a change that was sent before, a commit index from before that; 0 for one that is new.
        False where too many changes are pending: the Completion says so, and the change is not done.
        """
        self._unsettled = now
        submission = Submission(req_id, command, level, now + timeout, token)
        if since:
            submission.sent_before(since)
        return self._submissions.submit(submission, now)

    @property
    def may_propose(self) -> bool:
        """Whether `propose` would take a change: to be asked before the evaluator, which counts on what it decides."""
        return self.accepts and self._replication.has_room(times=2)

    def propose(self, effect: bytes, now: int) -> bool:
        """Put a change of the node's own into the order; False where this node may not."""
        if self.handing_over or not self._submissions.propose(effect, now):
            return False
        self._unsettled = now
        return True

    def leader_process_gone(self, peer: str, now: int) -> None:
        """The connection to `peer` was refused or reset: if it leads, do not wait for the timeout."""
        if self.role is Role.FOLLOWER and self._state.leader == peer and not self.hard.fresh:
            self._election.leader_seems_dead(now, own=True)
            self._election.announce_death(peer, now)

    def peer_connected(self, peer: str, now: int) -> None:
        """A new connection, or one of two is gone: what was in flight on the old one is lost."""
        progress = self._replication.progress.get(peer)
        if progress is not None and self.role is Role.LEADER:
            progress.connection_lost()
        elif self._state.leader == peer:
            self._submissions.connection_lost()
        self._unsettled = now

    def part_answered(self, sender: Sender, now: int) -> bool:
        """A peer has answered a part of a snapshot, or a question: slow is not stuck.

        False where its word says nothing of the replica that the transfer is for: that one is gone, and a host that
        has begun with nothing since would seem to lack nothing.
        """
        progress = self._replication.progress_of(sender)
        if progress is None:
            return False
        progress.took_at = progress.moved_at = now
        return True

    def append_moves(self, peer: str, now: int) -> None:
        """The connection to `peer` has taken more of the Append in flight: slow is not lost."""
        progress = self._replication.progress.get(peer)
        if progress is not None:
            progress.moved_at = progress.append_moved_at = now

    def hosts_differ(self, now: int) -> None:
        """A node that takes no part, since it counts other hosts, is still there. Tell it again and again."""
        self._formation.met_another_list(now)

    def hand_over(self, now: int) -> bool:
        """Give the leadership to the most up-to-date peer; False where there is nothing to give or nobody."""
        if self.role is not Role.LEADER or self.handing_over or self._successor(now) is None:
            return False
        self._handing_over_until = now + self.config.election_timeout
        self._handover_sent = ""
        self._handover_again_at = NEVER
        self._leases.given_up = True
        self._leases.revoke()
        self._submissions.accepts_from = None
        self._unsettled = now
        return True

    def part_arrives(
        self,
        sender: Sender,
        term: int,
        part: Part | None,
        now: int,
        requests: Iterable[tuple[str, Recorded]] = (),
    ) -> bool:
        """A part of the leader's replica has come, or with None a question how far it is.

        True where it is of this node's leader and the next one: the shell stores it, first of all, in the transaction
        of the Ready that follows. What is to be answered then is `hard.installing`. `requests`, with the last part:
        all that have come.
        """
        if not self._counts_the_same_hosts(sender, now):
            return False
        if not self._credible(sender, Append(term, part.index if part else 0, 0, 0), now):
            return False
        if not self._belongs(sender, None, now) or not self._follow(sender, term, now):
            return False
        self._unsettled = now
        if part is None:
            return True
        installing = self.hard.installing
        if installing is None or not part.follows(installing):
            return False
        self._state.harden(installing=Installing(part.upto, part.index, part.last))
        if part.last:
            # Those of the log since it began anew are in the table already, or were and had to go: the log may be much
            # further than it was where the part was read.
            floor = max(part.floor, self.table.floor)
            known = {**dict(requests), **dict(self.table.items())}
            kept = [one for one in known.items() if one[1].index > floor]
            self.table.replace(sorted(kept, key=lambda one: one[1].index), floor)
        return True

    def transfer_ended(self, peer: str, now: int, *, complete: bool) -> None:
        """The shell is no longer at sending to `peer`, which has said that its replica is complete, or has not."""
        self._replication.transfer_ended(peer, complete=complete)
        self._unsettled = now

    # outputs

    def take_ready(self) -> Ready:
        """What the inputs since the last call left to do. Several inputs may share one Ready: they are one batch."""
        now = self._unsettled
        if now is not None:
            self._settle(now)
            self.unfinished = self._state.more_to_apply or self._submissions.unfinished
            self._unsettled = now if self.unfinished else None
        ready, self._state.ready = self._state.ready, Ready()
        ready.may_wait = self._state.role is Role.LEADER and _counts_on_nothing_stored(ready)
        return ready

    def next_wakeup(self, now: int) -> int:
        """When `tick` has something to do at the latest."""
        at = min(now + self.config.heartbeat, self._submissions.due_at)
        if self._state.role is Role.LEADER:
            at = min(at, self._leases.next_ping_at)
            if self.accept_due:
                at = now
            if self._submissions.waits_for_leases():
                at = min(at, self._leases.next_lease_end(now))
            if self._replication.has_more_to_send():
                at = min(at, now + self.config.commit_delay)
        else:
            at = min(at, self._replication.apply_due_at)
            # What is due and may not be done yet is looked at again with the next heartbeat.
            own = self._formation.campaign_at if self.hard.fresh else self._election.deadline
            if own > now and not self.hard.installing:
                at = min(at, own)
        return max(at, now + 1)

    # consequences

    def _settle(self, now: int) -> None:
        """Carry every consequence of a step as far as it goes now."""
        state = self._state
        if state.role is Role.LEADER:
            self._replication.advance_commit()
            state.apply_committed()
            # Not before the shell has carried out what is to be applied: commands are evaluated on the replica.
            if self.accepts:
                if not state.ready.apply:
                    self._submissions.accept()
                self._submissions.release(now)
            self._submissions.advance_some(now)
            if not self.config.peers and self._replication.advance_commit():
                state.apply_committed()
            self._go_on_handing_over(now)
            self._replication.replicate(now, self._submissions.awaited())
            self._leases.renew_own(now)
        else:
            self._submissions.advance_some(now)
            self._replication.apply_now_or_soon(now, at_once=self._applies_at_once())
            self._installed()
            self._leases.applied()
        for entry in state.ready.entries:
            self.table.record(entry)
        for entry in state.ready.apply:
            if entry.req_id:
                self._submissions.recorded(entry.req_id, entry.index, entry.outcome)
        self._submissions.progressed(now)
        self._compact()

    def _installed(self) -> None:
        """A replica of which all parts are here is whole once it has reached the latest of them."""
        state, installing = self._state, self.hard.installing
        if installing is None:
            return
        if installing.whole and state.applied >= installing.reached:
            state.harden(installing=None)
        elif state.log.bytes > HELD_LOGS * self.config.log_bytes and state.commit > installing.reached:
            # The next part takes too long: go on without it. It is read once more, at a later index.
            state.harden(installing=installing._replace(reached=state.commit))
            state.apply_committed()

    def _applies_at_once(self) -> bool:
        """Whether somebody waits for this follower to apply: a change of its host, or a lease."""
        return (
            len(self._submissions) > 0 or self.hard.installing is not None or self._leases.waits_for_applied()
        )

    def _compact(self) -> None:
        state = self._state
        point = state.log.compaction_point(state.applied, self.config.log_bytes)
        if point is not None:
            state.log.compact_to(point)
            state.ready.compact_to, state.ready.compact_term = point, state.log.base_term

    # heartbeats, the log and changes

    def _on_probe(self, sender: Sender, message: Probe, now: int) -> None:  # noqa: ARG002
        self._state.send(sender.addr, ProbeReply())

    def _on_nothing(self, sender: Sender, message: Message, now: int) -> None:
        """That it came is all it says."""

    def _on_ping(self, sender: Sender, ping: Ping, now: int) -> None:
        self._state.heard_commit = max(self._state.heard_commit, ping.commit_index)
        if not self._follow(sender, ping.term, now):
            self._state.send(
                sender.addr, Pong(self._state.term, ping.seq, ping.sent_at, now, self._state.applied)
            )
            return
        if ping.admitted and ping.admitted == self.hard.incarnation and self.hard.fresh:
            self._state.harden(fresh=False, forming=None)
        self._replication.commit_known(ping.commit_index)
        self._replication.apply_now_or_soon(now, at_once=True)
        self._leases.on_ping(sender.addr, ping, now)

    def _on_pong(self, sender: Sender, pong: Pong, now: int) -> None:
        if self.role is Role.LEADER and pong.term == self._state.term:
            self._replication.met_alive(sender, pong.sent_at)
        progress = self._current(sender, pong.term, now)
        if progress is not None:
            self._leases.on_pong(progress, pong, now)

    def _on_append(self, sender: Sender, append: Append, now: int) -> None:
        self._state.heard_commit = max(self._state.heard_commit, append.commit_index)
        if self._follow(sender, append.term, now):
            dropped_from = self._state.log.last_index
            before = self._state.log.between(append.prev_index + 1, dropped_from) if append.entries else ()
            before = list(before)
            # Without entries it says that there is nothing to wait for.
            at_once = not append.entries or self._applies_at_once()
            if append.anew:
                self._begin_anew(append)
            self._replication.on_append(append, sender.addr, now, apply_at_once=at_once)
            if self._state.ready.truncate_from is not None:
                cut = self._state.ready.truncate_from
                self.table.forget(entry for entry in before if entry.index >= cut)
        else:
            refused = AppendAck(self._state.term, False, 0, self._state.applied, append.prev_index)
            self._state.send(sender.addr, refused)

    def _on_append_ack(self, sender: Sender, ack: AppendAck, now: int) -> None:
        progress = self._current(sender, ack.term, now)
        if progress is not None:
            matched = progress.match_index
            self._replication.on_append_ack(progress, ack, now)
            if progress.match_index > matched:
                progress.took_at = progress.moved_at = now

    def _current(self, sender: Sender, term: int, now: int) -> Progress | None:
        """Whose answer this is, if it is one to this leader in this term; steps down for a later term."""
        if term > self._state.term and not sender.fresh:
            self._become_follower(term, None, now)
        if self.role is not Role.LEADER or term != self._state.term:
            return None
        return self._replication.progress_of(sender)

    def _on_forward(self, sender: Sender, forward: Forward, now: int) -> None:
        self._submissions.on_forward(sender.addr, forward, now)

    def _on_forward_reply(self, sender: Sender, reply: ForwardReply, now: int) -> None:
        self._submissions.on_reply(sender.addr, reply, now)


def _counts_on_nothing_stored(ready: Ready) -> bool:
    """Whether a leader's Ready holds nothing durable but entries, and nothing leaves that counts on them."""
    if (
        ready.apply
        or ready.completions
        or ready.snapshots_to
        or ready.role_changed
        or ready.hard_state is not None
        or ready.compact_to is not None
        or ready.reset_log is not None
        or ready.truncate_from is not None
    ):
        return False
    for _, message in ready.messages:  # noqa: SIM110 - in every turn: all() takes twice as long
        if not isinstance(message, Append | Ping):
            return False
    return True


def restored(
    config: CoreConfig,
    hard: HardState,
    base: tuple[int, int],
    entries: Iterable[Entry],
    **arguments: Any,
) -> Core:
    """A Core from what a replica's journal holds."""
    return Core(config, hard, Log(*base, entries), **arguments)
