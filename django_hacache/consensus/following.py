"""What a node does while another one leads: it answers heartbeats and Appends, and takes parts of a replica."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_hacache.consensus.follower.installation import Installation
from django_hacache.consensus.follower.lease import HostLease
from django_hacache.consensus.follower.replication import FollowerReplication
from django_hacache.consensus.messages import Append, Ping, Pong, Sender
from django_hacache.consensus.proposals.proposals import Proposals
from django_hacache.consensus.roles import Roles
from django_hacache.consensus.state import NodeState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django_hacache.consensus.dedup import Recorded
    from django_hacache.consensus.transfer import Part


class Following:
    def __init__(
        self,
        state: NodeState,
        roles: Roles,
        replication: FollowerReplication,
        installation: Installation,
        lease: HostLease,
        proposals: Proposals,
    ) -> None:
        self._state = state
        self._roles = roles
        self._replication = replication
        self._installation = installation
        self._lease = lease
        self._proposals = proposals

    def on_ping(self, sender: Sender, ping: Ping, now_ms: int) -> None:
        state = self._state
        state.heard_commit = max(state.heard_commit, ping.commit_index)
        if not self._roles.follow(sender, ping.term, now_ms):
            pong = Pong(state.term, ping.seq, ping.sent_at_ms, now_ms, state.applied)
            state.send(sender.addr, pong)
            return
        if ping.admitted and ping.admitted == state.hard.incarnation and state.hard.fresh:
            state.harden(fresh=False, forming=None)
        self._replication.commit_known(ping.commit_index)
        self._replication.apply_now_or_soon(now_ms, at_once=True)
        self._lease.on_ping(ping, now_ms)
        pong = Pong(state.term, ping.seq, ping.sent_at_ms, now_ms, state.surely_committed)
        state.send(sender.addr, pong)

    def on_append(self, sender: Sender, append: Append, now_ms: int) -> None:
        state = self._state
        state.heard_commit = max(state.heard_commit, append.commit_index)
        if not self._roles.follow(sender, append.term, now_ms):
            self._replication.refuse(append, sender.addr)
            return
        # Without entries it says that there is nothing to wait for.
        at_once = not append.entries or append.awaited or self._somebody_waits()
        if append.anew:
            self._installation.begin(append)
        self._replication.on_append(append, sender.addr, now_ms, apply_at_once=at_once)

    def on_part(
        self,
        sender: Sender,
        term: int,
        part: Part | None,
        requests: Iterable[tuple[str, Recorded]],
        now_ms: int,
    ) -> bool:
        """Take a part of the leader's replica; with None, only say whether the leader asks how far this one is."""
        if not self._roles.follow(sender, term, now_ms):
            return False
        return part is None or self._installation.take(part, requests)

    def settle(self, now_ms: int) -> None:
        """Carry the consequences of a step as far as they go now."""
        self._proposals.advance_some(now_ms)
        self._replication.apply_now_or_soon(now_ms, at_once=self._somebody_waits())
        self._installation.finish()
        self._lease.applied()

    def _somebody_waits(self) -> bool:
        """Whether somebody waits for this follower to apply: a change of its host, or a lease."""
        return (
            len(self._proposals) > 0 or self._state.hard.installing is not None or bool(self._lease.waiting)
        )

    def next_wakeup_ms(self) -> int:
        return self._replication.apply_due_at_ms
