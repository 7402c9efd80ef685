"""What a leader knows of one peer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from .state import NEVER

if TYPE_CHECKING:
    from .window import Window


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
    sent_at: int = NEVER
    # How long that Append may stay without an answer before it is sent again.
    patience: int = 0
    # Its bytes; None where it is there a second time, and an answer does not tell which one was how quick.
    sent_bytes: int | None = None
    sent_commit: int = 0
    # When it last said that it had taken something, and when at least a piece of what is on its way was last taken.
    took_at: int = NEVER
    moved_at: int = NEVER
    # When more of the Append in flight was last seen to be taken: while that is so, it is not sent again.
    append_moved_at: int = NEVER
    # With the Append that was sent after this index it was to begin anew: what it said of less is from before that.
    begins_at: int = 0
    # Its replica is incomplete, and whether the shell is at sending ours.
    installing: bool = False
    transferring: bool = False
    # Fresh, and this leader has found that it may count from now on.
    admitted: bool = False
    # When the latest Ping left, and sent_at of the latest one that it answered.
    pinged_at: int = NEVER
    answered: int = NEVER
    # Its clock in its latest Pong, and when that arrived on ours.
    node_time: int = 0
    node_time_at: int = NEVER
    # On our clock, it holds no lease of ours after this.
    lease_until: int = NEVER
    # Until then workers of the incarnation before may read on in the replica that it has lost.
    lost_lease_until: int = NEVER

    def counts(self) -> bool:
        """Whether its answers count for commit, lease and check-quorum: a fresh node's do not."""
        return not self.fresh

    def only_receives(self) -> bool:
        """Whether it has no say and no lease, and will have none before all of the leader's replica is there."""
        return self.fresh and self.installing

    def holds(self) -> bool:
        """Whether what it acknowledges is held for good: who could not lead with it holds nothing."""
        return not (self.fresh or self.installing)

    def connection_lost(self) -> None:
        """Whatever was in flight may never arrive: start again from what the peer surely has."""
        self.in_flight = None
        self.mode = Mode.PROBE
        self.sent_at = NEVER
        self.window.begin_anew()

    def append_answered(self, now: int) -> None:
        """The Append in flight was answered: the next one may be larger, or has to be smaller."""
        self.in_flight = None
        if self.sent_bytes is not None:
            # That a small one was quick says nothing of a larger one.
            full = 2 * self.sent_bytes >= self.window.size
            self.window.acknowledged(self.sent_bytes if full else 0, now - self.sent_at)

    def acknowledged(self, index: int) -> None:
        self.match_index = max(self.match_index, index)
        self.next_index = max(self.next_index, self.match_index + 1)
        self.mode = Mode.REPLICATE
