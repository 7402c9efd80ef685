"""The lease under which the workers of this host read, whoever granted it: a leader, or this node as leader to itself.

A lease runs from the time at which a heartbeat was *sent*. No clock is ever compared with another host's: the leader
echoes the follower's own time, and the follower adds the length of the lease to it.
"""

from __future__ import annotations

from django_hacache.consensus.config import CoreConfig
from django_hacache.consensus.messages import Ping
from django_hacache.consensus.state import NEVER, NodeState


class HostLease:
    def __init__(self, config: CoreConfig, state: NodeState) -> None:
        self._config = config
        self._state = state
        # Grants that wait until this node has applied what the leader had committed: (commit index, deadline), both
        # growing. A node that is steadily behind reaches each while later ones are there already.
        self.waiting: list[tuple[int, int]] = []
        # The end of the lease that this host has: a late heartbeat does not take any of it back.
        self._until_ms = NEVER

    def on_ping(self, ping: Ping, now_ms: int) -> None:
        """Take the lease of a heartbeat once everything that the leader had committed is applied."""
        hard = self._state.hard
        # Whatever the heartbeat says: no lease is longer than leases are, and none begins later than now.
        lease_ms = min(ping.lease_ms, self._config.lease_ms)
        if 0 < ping.echo_ms <= now_ms and lease_ms and not hard.fresh and not hard.installing:
            self._wait_for(ping.commit_index, self._deadline_ms(ping.echo_ms, lease_ms), now_ms)
            self.applied()

    def _wait_for(self, commit: int, deadline_ms: int, now_ms: int) -> None:
        """Keep a grant, unless another one waits for less and lasts longer; those that it outdoes or are over go.

        Heartbeats may overtake each other. What is left is at most one grant a heartbeat of the length of a lease.
        """
        if any(other[0] <= commit and other[1] >= deadline_ms for other in self.waiting):
            return
        kept = [
            other
            for other in self.waiting
            if other[1] > now_ms and (other[0] < commit or other[1] > deadline_ms)
        ]
        self.waiting[:] = sorted([*kept, (commit, deadline_ms)])

    def applied(self) -> None:
        """Begin the grants that waited for this node to apply."""
        while self.waiting and self._state.applied >= self.waiting[0][0]:
            self._extend_to(self.waiting.pop(0)[1])

    def grant(self, start_ms: int) -> None:
        """Begin a whole lease at that time: the leader's own host reads under the leader's lease."""
        self._extend_to(self._deadline_ms(start_ms, self._config.lease_ms))

    def forget_grants(self) -> None:
        """Another leader or none: a grant that waits is void, one that was given runs out by itself."""
        self.waiting.clear()

    def revoke(self) -> None:
        self.waiting.clear()
        self._until_ms = NEVER
        self._state.ready.lease_until_ms = None
        self._state.ready.lease_revoked = True

    def _deadline_ms(self, start_ms: int, length_ms: int) -> int:
        # Clocks run at different rates. Protected: clocks_run_apart, grant_leases_without_end
        return start_ms + int(length_ms * self._config.lease_margin)

    def _extend_to(self, deadline_ms: int) -> None:
        if deadline_ms > self._until_ms:
            self._until_ms = self._state.ready.lease_until_ms = deadline_ms
