"""The state of one node, which all parts of the core share. No rules live here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from django_hacache.consensus.hard_state import HardState
from django_hacache.consensus.log import Log
from django_hacache.consensus.messages import LeaderReq, Message, Sender
from django_hacache.consensus.ready import Ready

NEVER = -(1 << 62)  # earlier than any time
ALWAYS_LATER = 1 << 62  # later than any time


class Role(Enum):
    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


@dataclass(slots=True)
class PeerView:
    """What the latest message of a peer said of itself."""

    sender: Sender
    heard_at_ms: int


@dataclass(slots=True)
class Handover:
    """A leadership that is given away (Raft thesis, section 3.10), as its leader knows of it, and as its followers do.

    It ends with the role, or with the leader, of the node that holds this: roles.py begins another one.
    """

    # The leader: until when it waits for its successor. It accepts, grants and admits nothing meanwhile.
    until_ms: int | None = None
    # Who is to take over: whom this leader has told so, or whom this follower's leader has named to it.
    named: str = ""
    # The leader: when it tells so again.
    again_at_ms: int = NEVER
    # A follower: who asked for its vote as one that is named, before its leader's word came.
    early: tuple[Sender, LeaderReq] | None = None

    @property
    def begun(self) -> bool:
        return self.until_ms is not None


class NodeState:
    """What this node knows: roles.py alone writes `role`, `leader`, `handover`, and the term and vote in `hard`.

    Always base_index <= applied <= commit <= last_index of the log.
    """

    __slots__ = (
        "applied",
        "apply_bytes_max",
        "commit",
        "election_ts",
        "handover",
        "hard",
        "heard_commit",
        "leader",
        "log",
        "more_to_apply",
        "peers",
        "ready",
        "role",
        "started_at_ms",
        "term",
    )

    def __init__(self, hard: HardState, log: Log, applied: int, now_ms: int, apply_bytes_max: int) -> None:
        self.hard = hard
        self.term = hard.term  # asked for a dozen times with each message
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
        self.election_ts = 0
        self.handover = Handover()
        self.peers: dict[str, PeerView] = {}
        self.started_at_ms = now_ms
        self.ready = Ready()

    def harden(self, **changes: Any) -> None:
        """Change the hard state; it is durable before anything that follows from it leaves."""
        self.hard = replace(self.hard, **changes)
        self.term = self.hard.term
        self.ready.hard_state = self.hard

    def commit_to(self, index: int) -> None:
        assert index <= self.log.last_index, "only what is in the log is committed"
        self.commit = max(self.commit, index)

    @property
    def applicable(self) -> int:
        """Up to where the log may be applied now."""
        installing = self.hard.installing
        # What is later than the latest part would change a replica that lacks the rest of that moment.
        # Protected: the_log_is_there_before_the_parts
        return self.commit if installing is None else min(self.commit, installing.reached)

    @property
    def surely_committed(self) -> int:
        """Up to where this node can vouch for the order: what is applied here, or where the latest part comes from.

        A leader may know less, and without this word it could send an incomplete replica no part that is new enough.
        """
        installing = self.hard.installing
        # Protected: the_joiner_has_a_part_from_ahead_of_what_the_next_leader_knows,
        # the_joiner_has_a_part_from_ahead_and_the_leader_loses_its_directory
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

    def compact(self, limit: int) -> None:
        """Forget what is applied of the log, where that takes more than `limit` bytes."""
        point = self.log.compaction_point(self.applied, limit)
        if point is not None:
            self.log.compact_to(point)
            self.ready.compact_to, self.ready.compact_term = point, self.log.base_term

    def up_to_date(self, last_index: int, last_term: int) -> bool:
        """Whether a candidate with this last entry may lead (Raft thesis, section 3.6.1).

        A node with an incomplete replica answers for what it has applied and no more. What it acknowledged after that
        was not counted, so whoever counts on it is not betrayed; and it cannot lead itself, so to insist on it could
        leave a cluster without a leader.
        """
        log = self.log
        if self.hard.installing is None:
            return log.up_to_date(last_index, last_term)
        # Protected: test_a_vote_of_an_incomplete_replica_is_for_who_has_all_it_applied
        return (last_term, last_index) >= (log.term_at(self.applied), self.applied)

    def start_over(self, index: int, term: int) -> None:
        """Go on with an empty replica and a log that begins after (index, term): forget what this batch stored."""
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
