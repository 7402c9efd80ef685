"""Heartbeats, check-quorum and the leases that let hosts serve reads (Raft thesis, section 6.4.1).

A lease runs from the time at which a heartbeat was *sent*. No clock is ever compared with another host's: the
leader echoes the follower's own time, and the follower adds the length of the lease to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .messages import Ping, Pong
from .quorum import reached_by
from .state import NEVER, NodeState

if TYPE_CHECKING:
    from .config import CoreConfig
    from .progress import Progress
    from .replication import Replication

ALWAYS = 1 << 62  # a node hears itself at any time


class Leases:
    def __init__(self, config: CoreConfig, state: NodeState, replication: Replication) -> None:
        self._config = config
        self._state = state
        self._replication = replication
        self._seq = 0
        self.next_ping_at = NEVER
        self._led_since = NEVER
        # The leader hands over: it grants nothing, not even to itself.
        self.given_up = False
        # Something has happened that the leader's own lease depends on.
        self._own_due = True
        # Grants that wait until this node has applied what the leader had committed: (commit index, deadline), both
        # growing. A node that is steadily behind reaches each while later ones are there already.
        self._waiting: list[tuple[int, int]] = []
        # The end of the lease that this host was given: a late heartbeat does not take any of it back.
        self._until = NEVER

    # the leader's side

    def lead(self, now: int) -> None:
        self._led_since = now
        self.next_ping_at = now
        self.given_up = False
        self._own_due = True
        self._waiting.clear()

    def majority_answered(self, without: str | None = None) -> int:
        """Send time of the latest heartbeat that a majority has answered in this term."""
        own = [] if self._state.hard.fresh else [ALWAYS]
        answers = [
            progress.answered
            for peer, progress in self._replication.progress.items()
            if progress.counts() and peer != without
        ]
        values = own + answers
        quorum = self._config.quorum
        return reached_by(values, quorum) if len(values) >= quorum else NEVER

    def leader_lease_left(self, now: int) -> int:
        """Milliseconds that this leader may count on still being the only one."""
        if self.given_up or not self._knows_commit():
            return 0
        if not self._config.peers:
            return self._config.lease
        return max(self.majority_answered() + self._config.lease - now, 0)

    def _knows_commit(self) -> bool:
        """A new leader's replica may lack what was acknowledged before it has applied something of its own term."""
        return self._state.log.term_at(self._state.applied) == self._state.term

    def lost_quorum(self, now: int) -> bool:
        """Check-quorum: no majority has answered for an election timeout."""
        if not self._config.peers:
            return False
        since = max(self.majority_answered(), self._led_since)
        return now - since >= self._config.election_timeout

    def ping_soon(self, now: int) -> None:
        """Let the next round come as soon as it is a later one."""
        self.next_ping_at = min(self.next_ping_at, now + 1)

    def ping(self, now: int) -> None:
        """Send the round of heartbeats that is due, and grant leases with it.

        A host that only receives is to know that the leader lives, and no more. What it takes tells it so; over a slow
        link heartbeats and their answers would take what its replica needs.
        """
        state = self._state
        self._seq += 1
        self._own_due = True
        self.next_ping_at = now + self._config.heartbeat
        left = self.leader_lease_left(now)
        for peer in self._config.peers:
            progress = self._replication.progress.get(peer)
            lease, echo, admitted = 0, 0, ""
            if progress is not None:
                seldom = self._replication.only_receives(peer)
                if seldom and now - max(progress.pinged_at, progress.took_at) < self._config.seldom_heartbeat:
                    continue
                progress.pinged_at = now
                if progress.admitted and progress.fresh:
                    admitted = progress.incarnation
                echo = progress.node_time
                lease = left if echo and progress.holds() else 0
                if lease:
                    progress.lease_until = max(progress.lease_until, progress.node_time_at + lease)
            # Of what is committed only as much as is applied here: else a follower could show, and acknowledge, what
            # reads of the leader's host do not show yet.
            state.send(peer, Ping(state.term, self._seq, now, state.applied, echo, lease, admitted))

    def on_pong(self, progress: Progress, pong: Pong, now: int) -> None:
        progress.answered = max(progress.answered, pong.sent_at)
        self._own_due = True
        if pong.node_time > progress.node_time:
            progress.node_time, progress.node_time_at = pong.node_time, now
        self._replication.on_applied(progress, pong.applied_index)
        self._admit(progress, now)

    def _admit(self, progress: Progress, now: int) -> None:
        """A fresh node counts once an entry from after this leader met it is committed without it, and it has that.

        Any such entry will do. See "Why an incarnation that is gone does not count" in docs/explanation/protocol.md.
        """
        # A leader that hands over puts nothing more into the order.
        if not progress.fresh or progress.admitted or self.given_up:
            return
        mark, state = progress.met_before, self._state
        if state.log.last_index < mark:
            self._replication.append(b"", "", b"", now)
        # The fresh are not among those whose entries are counted, so this majority is one without it.
        progress.admitted = not progress.installing and min(state.commit, progress.match_index) >= mark

    def on_every_host(self, index: int, now: int) -> bool:
        """Whether no host may serve a read from before the entry at `index` any more."""
        state = self._state
        if state.applied < index:
            return False
        if now < self._led_since + self._config.lease:
            return False  # an earlier leader's leases may still hold, be it over a replica that is gone
        return all(
            progress.lost_lease_until < now
            and (progress.applied_index >= index or progress.lease_until < now)
            for progress in self._replication.progress.values()
        )

    def next_lease_end(self, now: int) -> int:
        """When a wait for leases may be over at the earliest."""
        leases = (
            until
            for p in self._replication.progress.values()
            for until in (p.lease_until, p.lost_lease_until)
        )
        ends = [until + 1 for until in leases if until >= now]
        ends.append(self._led_since + self._config.lease)
        later = [end for end in ends if end > now]
        return min(later, default=now + self._config.heartbeat)

    def renew_own(self, now: int) -> None:
        """The leader's own host reads under the leader's lease."""
        if not self._own_due or not self._knows_commit():
            return
        self._own_due = False
        left = self.leader_lease_left(now)
        if left > 0:
            self._grant(now - self._config.lease + left if self._config.peers else now, self._config.lease)

    # the follower's side

    def on_ping(self, leader: str, ping: Ping, now: int) -> None:
        """Answer, and take the lease once everything that the leader had committed is applied."""
        state = self._state
        # Whatever the heartbeat says: no lease is longer than leases are, and none begins later than now.
        lease = min(ping.lease, self._config.lease)
        if 0 < ping.echo <= now and lease and not state.hard.fresh and not state.hard.installing:
            self._wait_for(ping.commit_index, self._deadline(ping.echo, lease), now)
            self.applied()
        state.send(leader, Pong(state.term, ping.seq, ping.sent_at, now, state.surely_committed))

    def _wait_for(self, commit: int, deadline: int, now: int) -> None:
        """Keep a grant, unless another one waits for less and lasts longer; those that it outdoes or are over go.

        Heartbeats may overtake each other. What is left is at most one grant a heartbeat of the length of a lease.
        """
        if any(other[0] <= commit and other[1] >= deadline for other in self._waiting):
            return
        kept = [
            other for other in self._waiting if other[1] > now and (other[0] < commit or other[1] > deadline)
        ]
        self._waiting[:] = sorted([*kept, (commit, deadline)])

    def applied(self) -> None:
        """Grant what waited for this node to apply."""
        while self._waiting and self._state.applied >= self._waiting[0][0]:
            self._set(self._waiting.pop(0)[1])

    def waits_for_applied(self) -> bool:
        """Whether a lease was granted that holds only once this node has applied more."""
        return bool(self._waiting)

    def forget(self) -> None:
        """Another leader or none: a grant that waits is void, one that was given runs out by itself."""
        self._waiting.clear()

    def revoke(self) -> None:
        self._waiting.clear()
        self._until = NEVER
        self._state.ready.lease_until = None
        self._state.ready.lease_revoked = True

    def _deadline(self, start: int, length: int) -> int:
        return start + int(length * self._config.lease_margin)

    def _grant(self, start: int, length: int) -> None:
        self._set(self._deadline(start, length))

    def _set(self, deadline: int) -> None:
        if deadline > self._until:
            self._until = self._state.ready.lease_until = deadline
