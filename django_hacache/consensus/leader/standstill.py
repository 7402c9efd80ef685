"""When a leader that is heard gives way, because what it orders does not reach a majority.

Heartbeats are small and have ways of their own, so a leader can be heard by everybody and bring no entry to anybody:
another host may have the better links. What decides is progress, not time: an entry that takes a minute over a slow
link and still moves is no reason. Progress says when something last moved.
"""

from __future__ import annotations

from django_hacache.consensus.config import CoreConfig
from django_hacache.consensus.leader.replication import LeaderReplication
from django_hacache.consensus.state import NEVER, NodeState

# In election timeouts: for how long nothing may move, at first and at most. Each time that giving way did not help, the
# leader is twice as patient: where nobody's entries move there is nobody better.
PATIENCE = 2
PATIENCE_MAX = 64
# In election timeouts: for how long it then leaves the candidacy to others.
MODESTY = 2


class Standstill:
    """A leader's patience with the entries that wait for a majority."""

    def __init__(self, config: CoreConfig, state: NodeState, replication: LeaderReplication) -> None:
        self._config = config
        self._state = state
        self._replication = replication
        self._patience = PATIENCE
        self._commit = 0
        # Since when something waits, and no more of it was committed.
        self._since_ms = NEVER

    def begin(self, now_ms: int) -> None:
        self._since_ms, self._commit = now_ms, self._state.commit

    def is_over(self, now_ms: int) -> bool:
        """Whether the patience is: then this leader gives way, and is more patient the next time."""
        state = self._state
        if state.commit > self._commit:
            self._patience = PATIENCE
        if state.commit > self._commit or state.commit == state.log.last_index:
            self._since_ms, self._commit = now_ms, state.commit
            return False
        patience_ms = self._patience * self._config.election_timeout_ms
        if now_ms - self._since_ms < patience_ms or self._majority_moves(now_ms - patience_ms):
            return False
        self._patience = min(2 * self._patience, PATIENCE_MAX)
        return True

    def _majority_moves(self, since_ms: int) -> bool:
        """Whether with this leader a majority has everything, or has taken something since then."""
        last = self._state.log.last_index
        moving = sum(
            progress.counts()
            and (progress.moved_at_ms > since_ms or (progress.holds() and progress.match_index == last))
            for progress in self._replication.progress.values()
        )
        return moving + 1 >= self._config.quorum
