"""The state of one node, and the batch of effects that a step leaves behind. No rules live here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .log import Log
    from .messages import Entry, Generation, Message, Refusal, Sender

NEVER = -(1 << 62)  # earlier than any time
ALWAYS_LATER = 1 << 62


class Role(Enum):
    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


class Installing(NamedTuple):
    """A replica that is being replaced: it holds what the leader's held at `reached`, up to `position` in its order.

    Only that part of it. Nothing after `reached` is applied before more has come: see transfer.py.
    """

    position: bytes
    reached: int
    whole: bool = False  # everything has come; what is committed up to `reached` has yet to be applied


@dataclass(frozen=True, slots=True)
class HardState:
    """What a node must find again after a restart, or else it is fresh."""

    incarnation: str
    term: int = 0
    vote: str = ""
    generation: Generation | None = None
    fresh: bool = True
    # The generation that this node voted for while it formed.
    forming: Generation | None = None
    # The leader is sending its replica, and not all of it is here.
    installing: Installing | None = None


class LeaseChange(Enum):
    GRANT = "grant"
    REVOKE = "revoke"


@dataclass(slots=True)
class Completion:
    """The answer to a submitted change: its outcome, or why there is none."""

    token: Any
    outcome: bytes = b""
    index: int = 0
    refusal: Refusal | None = None
    # What is to be said beside the refusal, if anything.
    reason: str = ""


@dataclass(slots=True)
class Ready:
    """What the shell must do, in the order of the fields.

    All of the durable part goes into one transaction. Only after it is committed may messages leave and
    completions be told: a vote or an acknowledgement that could be forgotten is a lie.

    With `may_wait` the durable part is nothing but new entries of a leader, and nothing that leaves counts on them:
    it may be stored with the next Ready that may not wait, before it, whether that has a durable part or not (Raft
    thesis, section 10.2.1). An entry that a leader loses with its process was committed by nobody, since it is
    stored with its commit at the latest.
    """

    may_wait: bool = False
    # durable
    # The replica is emptied, and the log begins anew after this place.
    reset_log: tuple[int, int] | None = None
    truncate_from: int | None = None
    entries: list[Entry] = field(default_factory=list)
    apply: list[Entry] = field(default_factory=list)
    apply_bytes: int = 0
    compact_to: int | None = None
    compact_term: int = 0
    hard_state: HardState | None = None
    # after that
    lease_revoked: bool = False
    lease_until: int | None = None
    messages: list[tuple[str, Message]] = field(default_factory=list)
    snapshots_to: list[str] = field(default_factory=list)
    completions: list[Completion] = field(default_factory=list)
    role_changed: bool = False
    # This leader stepped down because what it ordered moved to no majority.
    gave_way: bool = False
    # What was ignored since no node can mean it: the peer that sent it, and what it claims.
    refused: list[tuple[str, str]] = field(default_factory=list)

    @property
    def has_durable_part(self) -> bool:
        return bool(
            self.entries
            or self.apply
            or self.reset_log is not None
            or self.truncate_from is not None
            or self.compact_to is not None
            or self.hard_state is not None
        )


@dataclass(slots=True)
class PeerView:
    """What the latest message of a peer said of itself."""

    sender: Sender
    heard_at: int


class NodeState:
    """Everything the rooms of the core share."""

    __slots__ = (
        "applied",
        "apply_bytes_max",
        "commit",
        "election_ts",
        "hard",
        "heard_commit",
        "leader",
        "leader_heard_at",
        "log",
        "more_to_apply",
        "peers",
        "ready",
        "role",
        "started_at",
    )

    def __init__(self, hard: HardState, log: Log, applied: int, now: int, apply_bytes_max: int) -> None:
        self.hard = hard
        self.log = log
        self.applied = applied
        self.apply_bytes_max = apply_bytes_max
        # The Ready is full: what is committed after it is for the next one.
        self.more_to_apply = False
        self.commit = applied
        # The highest commit index of this generation that any leader told; the log here may end before it.
        self.heard_commit = applied
        self.role = Role.FOLLOWER
        self.leader: str | None = None
        self.leader_heard_at = NEVER
        self.election_ts = 0
        self.peers: dict[str, PeerView] = {}
        self.started_at = now
        self.ready = Ready()

    @property
    def term(self) -> int:
        return self.hard.term

    def harden(self, **changes: Any) -> None:
        """Change the hard state; it is durable before anything that follows from it leaves."""
        self.hard = replace(self.hard, **changes)
        self.ready.hard_state = self.hard

    def commit_to(self, index: int) -> None:
        self.commit = max(self.commit, index)

    @property
    def applicable(self) -> int:
        """Up to where the log may be applied now."""
        installing = self.hard.installing
        return self.commit if installing is None else min(self.commit, installing.reached)

    @property
    def surely_committed(self) -> int:
        """Up to where this node can vouch for the order: what is applied here, or where the latest part comes from.

        A leader may know less, and without this word it could send an incomplete replica no part that is new enough.
        """
        installing = self.hard.installing
        return self.applied if installing is None else max(self.applied, installing.reached)

    def apply_committed(self) -> None:
        """Apply what is committed: what one Ready takes, and no more than a replica that is incomplete may hold."""
        if self.applied >= self.commit:
            return
        last = self.commit if self.hard.installing is None else self.applicable
        if self.applied < last:
            self._apply_to(last)

    def _apply_to(self, last: int) -> None:
        ready = self.ready
        size = ready.apply_bytes
        for entry in self.log.between(self.applied + 1, last):
            size += entry.size
            if size > self.apply_bytes_max and ready.apply:
                break
            ready.apply.append(entry)
            ready.apply_bytes, self.applied = size, entry.index
        self.more_to_apply = self.applied < last

    def up_to_date(self, last_index: int, last_term: int) -> bool:
        """Whether a candidate with this last entry may lead (Raft thesis, section 3.6.1).

        A node with an incomplete replica answers for what it has applied and no more. What it acknowledged after that
        was not counted, so whoever counts on it is not betrayed; and it cannot lead itself, so to insist on it could
        leave a cluster without a leader.
        """
        log = self.log
        if self.hard.installing is None:
            return log.up_to_date(last_index, last_term)
        return (last_term, last_index) >= (log.term_at(self.applied), self.applied)

    def start_over(self, index: int, term: int) -> None:
        """Go on with an empty replica and a log that begins after (index, term)."""
        ready = self.ready
        ready.entries.clear()
        ready.apply.clear()
        ready.apply_bytes = 0
        self.more_to_apply = False
        ready.truncate_from = ready.compact_to = None
        ready.reset_log = (index, term)
        self.log.reset(index, term)
        self.applied = self.commit = index

    def send(self, peer: str, message: Message) -> None:
        self.ready.messages.append((peer, message))
