"""The consensus core of one node: messages, changes and the time go in, batches of effects come out.

Theory of operation. Every node runs one Core. It is a Raft node (terms, one vote a term, the up-to-date check, log
matching, commit by majority) with pre-vote, stickiness and check-quorum, so that only the loss of the leader or of the
majority ends a leadership. Heartbeats carry read leases, so that every host may serve reads. The protocol, and why it
is right, is docs/explanation/protocol.md; here is where its rules are. Each word is in docs/explanation/glossary.md.

**No clock, no socket, no randomness of its own.** The shell calls one of `receive`, `tick`, `submit` ... with the time
in milliseconds of its boot-time clock, once or for everything that arrived together. Then it takes the effects with
`take_ready`, stores the durable part in one transaction, tells the rest, and calls again. What must be sent or stored
is in the Ready and nowhere else, and what leaves counts on nothing that is not stored. So one seed replays a cluster.

**An input goes through the same steps, whatever it is.** `receive` drops what does not concern this node
(membership.py: another list of hosts, another generation) and what no honest node can say (credible.py). It notes the
sender, then hands the message to the part whose affair it is. That part changes the state and queues answers. Nothing
is carried further until `take_ready`: only then `_settle` commits, applies, orders, replicates and completes, once for
all inputs that came together. That is where batches come from, and nothing has to be tuned for them.

**A role changes in one place.** roles.py is the only writer of role, leader, term and vote; the edges stand there in a
table. election.py decides: who starts an election, who grants a vote, who counts it. detector.py knows whether the
leader is there, and when to ask for votes if not. A hand-over is an election that the leader asks for: it names its
successor (leader/handover.py), and stickiness lets that one pass.

**The leader** (leadership.py) puts changes into the order (proposals/ordering.py), brings them to its peers
(leader/replication.py, with a Progress for each) and commits what a majority has. Its heartbeats (leader/heartbeats.py)
tell it whether it still has that majority, and grant leases. It gives way when it is heard and what it orders moves to
no majority (leader/standstill.py).

**A follower** (following.py) accepts entries that follow what it has (follower/replication.py), applies what is
committed, and lets its workers read under the lease that it has got (follower/lease.py). Where the leader's log no
longer reaches it, the leader's replica is installed in parts (follower/installation.py, transfer.py).

**A change** (proposals/proposals.py) goes from the node that took it to the leader and back. Its req_id stays the same
through every retry, and dedup.py is the replicated table that makes it take effect once.

**A node that lost its state is fresh** and counts for nothing until the leader admits it (leader/admission.py). Only
where a majority of the hosts is fresh do they form a new generation, in which every cache is empty (bootstrap.py).

What the parts may know of each other is a line, and no part knows one to its right:

    state, log ... | follower/ | leader/ | proposals/ | roles | leadership, following, membership | election | core

Whoever changes this: an assert is an invariant that the argument rests on, and "Protected: ..." names the script, or
the deliberate bug, of the tests that falls without that line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_hacache.consensus import messages
from django_hacache.consensus.bootstrap import Bootstrap
from django_hacache.consensus.config import CoreConfig
from django_hacache.consensus.dedup import Recorded, RequestTable
from django_hacache.consensus.detector import FailureDetector
from django_hacache.consensus.election import Election
from django_hacache.consensus.follower.installation import Installation
from django_hacache.consensus.follower.lease import HostLease
from django_hacache.consensus.follower.replication import FollowerReplication
from django_hacache.consensus.following import Following
from django_hacache.consensus.hard_state import HardState
from django_hacache.consensus.leader.heartbeats import Heartbeats
from django_hacache.consensus.leader.replication import LeaderReplication
from django_hacache.consensus.leadership import Leadership
from django_hacache.consensus.log import Log
from django_hacache.consensus.membership import Membership
from django_hacache.consensus.messages import NEVER_SENT, AckLevel, Append, Message, Sender, Since
from django_hacache.consensus.proposals.held import Held
from django_hacache.consensus.proposals.ordering import Evaluator, Ordering, Room
from django_hacache.consensus.proposals.pending import Pending
from django_hacache.consensus.proposals.proposal import Proposal
from django_hacache.consensus.proposals.proposals import Proposals
from django_hacache.consensus.ready import Ready
from django_hacache.consensus.roles import Roles
from django_hacache.consensus.state import NodeState, PeerView, Role
from django_hacache.consensus.transfer import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random


class Core:
    """One node of the cluster.

    Args:
        config: who takes part, and all limits.
        hard: the durable state, or `fresh_state(rng)` where there is none.
        log: the durable tail of the log.
        applied: the index up to which the replica holds the log's effects.
        requests: the durable table of those recent requests that the log has dropped, oldest first.
        requests_floor: requests up to this index may be missing in it.
        evaluator: decides what commands do while this node leads.
        now_ms: the time, of a clock that never goes back.
        rng: randomness for timeouts and identities.
        wall_offset_ms: what to add to `now_ms` to get milliseconds since 1970; only ever breaks ties.
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
        now_ms: int,
        rng: Random,
        requests: Iterable[tuple[str, Recorded]] = (),
        requests_floor: int = 0,
        wall_offset_ms: int = 0,
        size_of: Callable[[Any], int] = len,
    ) -> None:
        self.config = config
        self.state = state = NodeState(hard, log, applied, now_ms, config.apply_bytes)
        self.table = table = RequestTable.of_log(config, log, requests, requests_floor)
        self.lease = lease = HostLease(config, state)
        following = FollowerReplication(config, state, table)
        self.replication = replication = LeaderReplication(config, state)
        self.heartbeats = heartbeats = Heartbeats(config, state, replication, lease)
        held = Held(Room(replication, evaluator).lacks, evaluator.line_of)
        self._pending = pending = Pending(config, state, size_of, held)
        self.ordering = ordering = Ordering(state, replication, table, evaluator, pending)
        self.proposals = proposals = Proposals(
            config, state, replication, heartbeats, table, pending, ordering
        )
        self.detector = detector = FailureDetector(config, rng, now_ms, fresh=hard.fresh)
        self.roles = roles = Roles(config, state, detector, lease, proposals)
        self.leadership = leadership = Leadership(
            config, state, roles, detector, replication, heartbeats, lease, ordering, proposals
        )
        self.installation = Installation(config, state, table, following, lease)
        self.following = Following(state, roles, following, self.installation, lease, proposals)
        self.bootstrap = bootstrap = Bootstrap(
            config, state, rng, detector, (now_ms + wall_offset_ms) // 1000
        )
        self.membership = membership = Membership(
            config, state, rng, roles, bootstrap, detector, heartbeats, self.installation, proposals
        )
        self.election = Election(
            config, state, roles, detector, bootstrap, membership, leadership, wall_offset_ms
        )
        self._speaks: tuple[HardState, Sender] | None = None  # as whom, and the state that says so
        # Whether the latest Ready holds as much as it takes, and the next one more of the same: take that soon.
        self.unfinished = False
        # The time of the latest input whose consequences wait for take_ready.
        self._unsettled_ms: int | None = None
        self._handlers = self._handlers_of_messages()

    def _handlers_of_messages(self) -> dict[type[Any], Callable[[Sender, Any, int], None]]:
        return {
            messages.Probe: self.election.on_probe,
            messages.ProbeReply: _on_nothing,
            messages.LeaderReq: self.election.on_leader_req,
            messages.LeaderReqAck: self.election.on_leader_req_ack,
            messages.LeaderAck: self.election.on_leader_ack,
            messages.LeaderAckAck: _on_nothing,
            messages.LeaderSwitch: self.election.on_leader_switch,
            messages.LeaderSwitchAck: _on_nothing,
            messages.LeaderSwitchPriority: self.election.on_priority,
            messages.LeaderDead: self.election.on_leader_dead,
            messages.Ping: self.following.on_ping,
            messages.Pong: self.leadership.on_pong,
            messages.Append: self.following.on_append,
            messages.AppendAck: self.leadership.on_append_ack,
            messages.Forward: self.proposals.on_forward,
            messages.ForwardReply: self.proposals.on_forward_reply,
        }

    # what the shell and its views may read

    @property
    def hard(self) -> HardState:
        return self.state.hard

    @property
    def role(self) -> Role:
        return self.state.role

    @property
    def leader(self) -> str | None:
        return self.state.leader

    @property
    def accepts(self) -> bool:
        """Whether this node leads, does not hand over, and has applied everything from before its term."""
        return self.ordering.accepts

    @property
    def accept_due(self) -> bool:
        """Whether what waited for this leader can be ordered as soon as it is told that time has passed."""
        return self.leadership.accept_due

    @property
    def handing_over(self) -> bool:
        return self.state.handover.begun

    @property
    def pending(self) -> int:
        return len(self.proposals)

    @property
    def pending_bytes(self) -> int:
        return self._pending.bytes

    @property
    def uncommitted(self) -> int:
        """Entries that this leader has put into the order and no majority has; 0 on a follower."""
        state = self.state
        return state.log.last_index - state.commit if state.role is Role.LEADER else 0

    @property
    def uncommitted_bytes(self) -> int:
        return self.replication.tail_bytes if self.state.role is Role.LEADER else 0

    def sender(self) -> Sender:
        """How this node signs what it sends."""
        hard, speaks = self.state.hard, self._speaks
        if speaks is None or speaks[0] is not hard:
            digest = self.membership.hosts_digest
            sender = Sender(self.config.addr, hard.incarnation, hard.generation, hard.fresh, digest)
            speaks = self._speaks = hard, sender
        return speaks[1]

    def has_quorum(self, now_ms: int) -> bool:
        """Whether this node is, or lately heard, a leader with a majority."""
        if self.state.role is Role.LEADER:
            return not self.heartbeats.lost_quorum(now_ms)
        return self.state.leader is not None and self.detector.leader_is_live(now_ms)

    # inputs

    def receive(self, sender: Sender, message: Message, now_ms: int) -> None:
        """Take a message of a peer."""
        membership, state = self.membership, self.state
        view = state.peers.get(sender.addr)
        known = view is not None and view.sender is sender  # it signs with the very object that was checked
        if not known and not membership.counts_the_same_hosts(sender, now_ms):
            return
        if not membership.is_credible(sender, message, now_ms):
            return
        if view is not None and known:
            view.heard_at_ms = now_ms
        else:
            state.peers[sender.addr] = PeerView(sender, now_ms)
            self.bootstrap.saw(sender.generation)
        if not membership.concerns(sender, message, now_ms):
            return
        if state.role is Role.LEADER and sender.generation == state.hard.generation:
            self.leadership.met(sender, now_ms)
        self._handlers[type(message)](sender, message, now_ms)
        self._unsettled_ms = now_ms

    def tick(self, now_ms: int) -> None:
        """Do what is due. Call at `next_wakeup_ms`, or more often."""
        if self.state.role is Role.LEADER:
            self.leadership.tick(now_ms)
        else:
            self.election.tick(now_ms)
        self.proposals.tick(now_ms)
        self._unsettled_ms = now_ms

    def submit(
        self,
        req_id: str,
        command: Any,
        level: AckLevel,
        token: Any,
        *,
        timeout_ms: int,
        now_ms: int,
        since: Since = NEVER_SENT,
    ) -> bool:
        """Take a change of this host. Its Completion carries `token`, and comes within `timeout_ms`.

        since: of a change that was sent before, a commit index from before that, and in which generation.
        False where too many changes are pending: the Completion says so, and the change is not done.
        """
        self._unsettled_ms = now_ms
        proposal = Proposal(req_id, command, level, now_ms + timeout_ms, token)
        if since.applied:
            proposal.sent_before(since, self.state.hard.generation)
        return self.proposals.submit(proposal, now_ms)

    @property
    def may_propose(self) -> bool:
        """Whether `propose` would take a change: to be asked before the evaluator, which counts on what it decides."""
        return self.ordering.may_propose

    def propose(self, effect: bytes, now_ms: int) -> bool:
        """Put a change of the node's own into the order; False where this node may not."""
        if not self.ordering.propose(effect, now_ms):
            return False
        self._unsettled_ms = now_ms
        return True

    def leader_process_gone(self, peer: str, now_ms: int) -> None:
        """The connection to `peer` was refused or reset: if it leads, do not wait for the timeout."""
        self.election.leader_process_gone(peer, now_ms)

    def peer_connected(self, peer: str, now_ms: int) -> None:
        """A new connection, or one of two is gone: what was in flight on the old one is lost."""
        if self.state.role is Role.LEADER:
            self.leadership.connection_lost(peer)
        elif self.state.leader == peer:
            self.proposals.connection_lost()
        self._unsettled_ms = now_ms

    def part_answered(self, sender: Sender, now_ms: int) -> bool:
        """A peer has answered a part of a replica, or a question.

        False where its word says nothing of the replica that the transfer is for: that one is gone, and a host that
        has begun with nothing since would seem to lack nothing.
        """
        return self.leadership.part_answered(sender, now_ms)

    def append_moves(self, peer: str, now_ms: int) -> None:
        """The connection to `peer` has taken more of the Append in flight."""
        self.leadership.append_moves(peer, now_ms)

    def hosts_differ(self, now_ms: int) -> None:
        """A node that takes no part, since it counts other hosts, is still there. Tell it again and again."""
        self.bootstrap.met_another_list(now_ms)

    def hand_over(self, now_ms: int) -> bool:
        """Give the leadership to the most up-to-date peer; False where there is nothing to give or nobody."""
        if not self.leadership.hand_over(now_ms):
            return False
        self._unsettled_ms = now_ms
        return True

    def part_arrives(
        self,
        sender: Sender,
        term: int,
        part: Part | None,
        now_ms: int,
        requests: Iterable[tuple[str, Recorded]] = (),
    ) -> bool:
        """A part of the leader's replica has come, or with None a question how far it is.

        True where it is of this node's leader and the next one: the shell stores it, first of all, in the transaction
        of the Ready that follows, and answers `hard.installing`. `requests`, with the last part: all that have come.
        """
        membership = self.membership
        if not membership.counts_the_same_hosts(sender, now_ms):
            return False
        if not membership.is_credible(sender, Append(term, part.index if part else 0, 0, 0), now_ms):
            return False
        if not membership.concerns(sender, None, now_ms):
            return False
        self._unsettled_ms = now_ms
        return self.following.on_part(sender, term, part, requests, now_ms)

    def transfer_ended(self, peer: str, now_ms: int, *, complete: bool) -> None:
        """The shell is no longer at sending to `peer`, which has said that its replica is complete, or has not."""
        self.replication.transfer_ended(peer, complete=complete)
        self._unsettled_ms = now_ms

    # outputs

    def take_ready(self) -> Ready:
        """What the inputs since the last call left to do. Several inputs may share one Ready: they are one batch."""
        now_ms, state = self._unsettled_ms, self.state
        if now_ms is not None:
            self._settle(now_ms)
            self.unfinished = state.more_to_apply or self.proposals.unfinished
            self._unsettled_ms = now_ms if self.unfinished else None
        ready, state.ready = state.ready, Ready()
        ready.may_wait = state.role is Role.LEADER and ready.counts_on_nothing_stored()
        return ready

    def next_wakeup_ms(self, now_ms: int) -> int:
        """When `tick` has something to do at the latest."""
        if self.state.role is Role.LEADER:
            at_ms = self.leadership.next_wakeup_ms(now_ms)
        else:
            at_ms = min(self.following.next_wakeup_ms(), self.election.next_wakeup_ms(now_ms))
        at_ms = min(at_ms, now_ms + self.config.heartbeat_ms, self.proposals.due_at_ms)
        return max(at_ms, now_ms + 1)

    def _settle(self, now_ms: int) -> None:
        """Carry every consequence of a step as far as it goes now."""
        state = self.state
        if state.role is Role.LEADER:
            self.leadership.settle(now_ms)
        else:
            self.following.settle(now_ms)
        for entry in state.ready.entries:
            self.table.record(entry)
        for entry in state.ready.apply:
            if entry.req_id:
                self.proposals.applied(entry)
        self.proposals.progressed(now_ms)
        state.compact(self.config.log_bytes)


def _on_nothing(sender: Sender, message: Message, now_ms: int) -> None:
    """That it came is all it says."""
