"""What a leader knows of one peer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from django_hacache.consensus.messages import Append
from django_hacache.consensus.state import NEVER
from django_hacache.consensus.window import Window


class Mode(Enum):
    PROBE = "probe"  # where the logs meet is not known: one Append at a time, from a guess
    REPLICATE = "replicate"  # they meet at match_index


@dataclass(slots=True)
class Progress:
    """One peer's place in the log, and the leases that it may hold.

    match_index < next_index always; an entry at or below match_index equals the leader's.
    """

    incarnation: str
    # Every entry from here on was put into the order after this leader had heard of the incarnation.
    met_before: int
    next_index: int
    # How many bytes of entries an Append to it carries.
    window: Window
    fresh: bool = True
    mode: Mode = Mode.PROBE
    match_index: int = 0
    applied_index: int = 0
    # prev_index and send time of the Append in flight; there is at most one.
    in_flight: int | None = None
    sent_at_ms: int = NEVER
    # How long that Append may stay without an answer before it is sent again.
    patience_ms: int = 0
    # Its bytes; None where it is there a second time, and an answer does not tell which one was how quick.
    sent_bytes: int | None = None
    sent_commit: int = 0
    # When it last said that it had taken something, and when at least a piece of what is on its way was last taken.
    took_at_ms: int = NEVER
    moved_at_ms: int = NEVER
    # When more of the Append in flight was last seen to be taken: while that is so, it is not sent again.
    append_moved_at_ms: int = NEVER
    # With the Append that was sent after this index it was to begin anew: what it said of less is from before that.
    begins_at: int = 0
    # Its replica is incomplete, and whether the shell is at sending ours.
    installing: bool = False
    transferring: bool = False
    # Fresh, and this leader has found that it may count from now on.
    admitted: bool = False
    # When the latest Ping left, and sent_at of the latest one that it answered.
    pinged_at_ms: int = NEVER
    answered_ms: int = NEVER
    # Its clock in its latest Pong, and when that arrived on ours.
    node_time_ms: int = 0
    node_time_at_ms: int = NEVER
    # On our clock, it holds no lease of ours after this.
    lease_until_ms: int = NEVER
    # Until then workers of the incarnation before may read on in the replica that it has lost.
    lost_lease_until_ms: int = NEVER

    def counts(self) -> bool:
        """Whether its answers count for commit, lease and check-quorum: a fresh node's do not."""
        # Protected: count_a_fresh_node
        return not self.fresh

    def only_receives(self) -> bool:
        """Whether it has no say and no lease, and will have none before all of the leader's replica is there."""
        return self.fresh and self.installing

    def holds(self) -> bool:
        """Whether what it acknowledges is held for good: who could not lead with it holds nothing."""
        # Protected: test_an_incomplete_replica_does_not_keep_a_cluster_without_a_leader
        return not (self.fresh or self.installing)

    # The states of etcd's Progress, but for its third: a peer that is sent a replica gets the log beside it, and is
    # probed or replicated to as any other.

    def become_probe(self, next_index: int) -> None:
        """The logs do not meet where they were taken to: guess again, at this index or behind what it surely has."""
        self.mode = Mode.PROBE
        self.next_index = max(next_index, self.match_index + 1, 1)

    def become_replicate(self, match_index: int) -> None:
        """The logs are equal up to there."""
        self.mode = Mode.REPLICATE
        self.match_index = max(self.match_index, match_index)
        self.next_index = max(self.next_index, self.match_index + 1)

    def begin_anew(self, index: int) -> None:
        """The log no longer reaches the peer: it begins at this index, and what was under way to it was for before."""
        self.begins_at = index
        self.installing = self.transferring = False

    def connection_lost(self) -> None:
        """Whatever was in flight may never arrive: start again from what the peer surely has."""
        self.in_flight = None
        self.mode = Mode.PROBE
        self.sent_at_ms = NEVER
        self.window.begin_anew()

    def append_sent(self, append: Append, now_ms: int, *, patience_ms: int) -> None:
        again = self.in_flight is not None
        self.in_flight = append.prev_index
        self.sent_at_ms = now_ms
        self.patience_ms = patience_ms
        self.sent_bytes = None if again else sum(entry.size for entry in append.entries)
        self.sent_commit = append.commit_index
        self.next_index = append.prev_index + 1 + len(append.entries)
        assert self.match_index < self.next_index, "what is sent is behind what it surely has"

    def append_answered(self, now_ms: int) -> None:
        """The Append in flight was answered: the next one may be larger, or has to be smaller."""
        self.in_flight = None
        if self.sent_bytes is not None:
            # That a small one was quick says nothing of a larger one.
            full = 2 * self.sent_bytes >= self.window.size
            self.window.acknowledged(self.sent_bytes if full else 0, now_ms - self.sent_at_ms)

    def append_lost(self, base_index: int) -> None:
        """The Append in flight is lost, or stuck: go back to what the peer surely has, and knows."""
        self.next_index = max(self.match_index, base_index) + 1
        self.sent_commit = 0
        self.window.shrink()

    def grant(self, lease_ms: int) -> None:
        """A heartbeat leaves that grants it a lease from the time of its own that it answered with."""
        self.lease_until_ms = max(self.lease_until_ms, self.node_time_at_ms + lease_ms)
