"""The failure detector: whether the leader is there for all that this node knows, and when to ask for votes.

A leader that was heard within the election timeout is taken for alive (stickiness). Evidence that its process is gone
shortens the wait; it decides nothing. This module knows no votes and sends nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_hacache.consensus.config import CoreConfig
from django_hacache.consensus.state import NEVER

if TYPE_CHECKING:
    from random import Random


class FailureDetector:
    def __init__(self, config: CoreConfig, rng: Random, now_ms: int, *, fresh: bool) -> None:
        self._config = config
        self._rng = rng
        # A node that starts with its state does not know how lately it heard a leader: perhaps just now, and that
        # leader counts on it. Protected: a_voter_that_restarted_is_asked_at_once
        self.heard_at_ms = NEVER if fresh else now_ms
        # How long it waits after it has heard a leader, and when to ask for votes. The deadline moves with whatever is
        # heard of a leader or of another candidate.
        self.patience_ms = 0
        self.deadline_ms = 0
        # Evidence that the leader's process is gone: when it came, and whether this node saw it itself.
        self._evidence_at_ms = NEVER
        self._evidence_own = False
        self.postpone(now_ms)
        if not config.peers:
            self.deadline_ms = now_ms  # nobody else can lead

    def postpone(self, now_ms: int) -> None:
        """Wait for a leader, or for another candidate, for one randomized election timeout.

        Raft draws from one to two timeouts. Pre-votes make a tie cheap, so half of that is spread enough, and a new
        leader is there within two timeouts, voting and all.
        """
        timeout_ms = self._config.election_timeout_ms
        self.patience_ms = timeout_ms + self._rng.randrange(timeout_ms // 2 + 1)
        self.deadline_ms = now_ms + self.patience_ms

    def stand_back(self, by_ms: int) -> None:
        """Leave it to others to ask first."""
        self.deadline_ms += by_ms

    def heard(self, now_ms: int) -> None:
        """The leader was heard just now."""
        self.heard_at_ms = now_ms
        self._evidence_at_ms = NEVER
        self._evidence_own = False
        self.deadline_ms = now_ms + self.patience_ms

    def suspect(self, now_ms: int, *, own: bool) -> None:
        """Take evidence that the leader is gone: our own (connection refused or reset), or that of a peer."""
        self._evidence_own = self._evidence_own or own
        if self._evidence_at_ms == NEVER:
            self._evidence_at_ms = now_ms
        # A short random wait keeps the survivors from asking all at once.
        wait_ms = self._rng.randrange(self._config.heartbeat_ms // 2 + 1)
        if not self._evidence_own:
            wait_ms += max(self.heard_at_ms + 2 * self._config.heartbeat_ms - now_ms, 0)
        self.deadline_ms = min(self.deadline_ms, now_ms + wait_ms)

    def ask_again_soon(self, now_ms: int) -> None:
        """With evidence of its own, a node asks again before long: others may lack evidence for a moment.

        To ask for a pre-vote again changes nothing anywhere.
        """
        if self._evidence_own:
            heartbeat_ms = self._config.heartbeat_ms
            self.deadline_ms = now_ms + heartbeat_ms * 2 + self._rng.randrange(heartbeat_ms)

    def leader_is_live(self, now_ms: int) -> bool:
        """Stickiness: the leader was heard within the election timeout and nothing speaks against it."""
        if self._has_evidence(now_ms):
            return False
        return now_ms - self.heard_at_ms < self._config.election_timeout_ms

    def _has_evidence(self, now_ms: int) -> bool:
        if self._evidence_at_ms == NEVER:
            return False
        return self._evidence_own or now_ms - self.heard_at_ms >= 2 * self._config.heartbeat_ms
