"""The leader's side of a hand-over (Raft thesis, section 3.10): who takes over, and how all are told.

The leader names its successor once that has everything that is in the order, and again with each heartbeat, for the
news may be lost. How the successor and its voters take it is election.py's.
"""

from __future__ import annotations

from django_hacache.consensus.config import CoreConfig
from django_hacache.consensus.leader.replication import LeaderReplication
from django_hacache.consensus.messages import LeaderSwitch
from django_hacache.consensus.state import NodeState


class LeaderHandover:
    def __init__(self, config: CoreConfig, state: NodeState, replication: LeaderReplication) -> None:
        self._config = config
        self._state = state
        self._replication = replication

    def successor(self, now_ms: int) -> str | None:
        """The peer with the longest log, of those that answer: one that is frozen takes nothing over."""
        lately_ms = now_ms - 3 * self._config.heartbeat_ms
        counted = [
            (progress.answered_ms >= lately_ms, progress.match_index, peer)
            for peer, progress in self._replication.progress.items()
            if progress.holds()
        ]
        return max(counted)[2] if counted else None

    def go_on(self, now_ms: int) -> None:
        """Name the successor once it has caught up, and name it again when a heartbeat has passed."""
        handover = self._state.handover
        if not handover.begun or now_ms < handover.again_at_ms:
            return
        named = handover.named or self._successor_that_has_everything(now_ms)
        if named:
            handover.named = named
            handover.again_at_ms = now_ms + self._config.heartbeat_ms
            message = LeaderSwitch(named, self._state.election_ts, self._state.term)
            # The successor last: those whom it asks should know.
            for peer in sorted(self._config.peers, key=named.__eq__):
                self._state.send(peer, message)

    def _successor_that_has_everything(self, now_ms: int) -> str:
        """Empty where it has not."""
        successor = self.successor(now_ms) or ""
        progress = self._replication.progress.get(successor)
        caught_up = progress is not None and progress.match_index == self._state.log.last_index
        return successor if caught_up else ""
