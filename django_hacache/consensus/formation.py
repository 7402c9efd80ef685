"""How a cluster forms, and how a node that lost its state comes back.

A fresh node has forgotten promises and entries that others counted. It neither votes nor campaigns in the
generation it finds, and its answers count for nothing, until the leader admits it. Only when a majority of all hosts
is fresh may the fresh ones elect a leader of a new generation, in which every cache is empty.

Two candidates may form a generation each, and neither win a majority of members. So a node without a leader that has
seen for long enough that a majority of all hosts is not of its generation gives it up: it can never lead again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .messages import Generation, Sender
from .state import NEVER, HardState, NodeState, Role

if TYPE_CHECKING:
    from random import Random

    from .config import CoreConfig


def new_identity(rng: Random) -> str:
    return f"{rng.getrandbits(64):016x}"


def fresh_state(rng: Random) -> HardState:
    """The state of a node that starts without one."""
    return HardState(incarnation=new_identity(rng))


class Formation:
    def __init__(self, config: CoreConfig, state: NodeState, rng: Random, generation_floor: int) -> None:
        self._config = config
        self._state = state
        self._rng = rng
        self._floor = generation_floor
        self._highest = 0
        for generation in (state.hard.generation, state.hard.forming):
            self.saw(generation)
        self._majority_fresh_since = NEVER
        self._majority_elsewhere_since = NEVER
        self._promised_at = NEVER
        self._another_list_at = NEVER
        self.next_probe_at = NEVER
        self.campaign_at = NEVER

    @property
    def latest(self) -> int:
        """The highest number of a generation that is, or may be, the latest one."""
        return max(self._highest, self._floor)

    def met(self, sender: Sender) -> None:
        self.saw(sender.generation)

    def saw(self, generation: Generation | None) -> None:
        """Note a generation that there is, or that a candidate asks to form: a later one has a greater number."""
        if generation is not None:
            self._highest = max(self._highest, generation.number)

    def met_another_list(self, now: int) -> None:
        """Somebody counts other hosts. They may have a generation that lives, and a majority of their own."""
        self._another_list_at = now
        self._majority_fresh_since = self._majority_elsewhere_since = NEVER

    def _alone(self, now: int) -> bool:
        """Whether there is nobody who counts other hosts, for all we know now."""
        return now - self._another_list_at >= self._config.election_timeout

    def _fresh_hosts(self, now: int) -> int:
        """Hosts that are fresh for all we know now, this one included."""
        recent = now - 10 * self._config.heartbeat
        peers = self._state.peers.values()
        return 1 + sum(view.sender.fresh and view.heard_at >= recent for view in peers)

    def allowed(self, now: int) -> bool:
        """Whether this node may take part in forming a generation now.

        Leases that a lost majority granted outlive it by at most one lease: so it waits, unless every host is
        here and fresh and nobody can hold one.
        """
        state, config = self._state, self._config
        if not state.hard.fresh or not self._alone(now):
            return False
        fresh = self._fresh_hosts(now)
        if fresh < config.quorum:
            self._majority_fresh_since = NEVER
            return False
        if self._majority_fresh_since == NEVER:
            self._majority_fresh_since = now
        if now - state.leader_heard_at < config.election_timeout:
            return False
        if fresh == len(config.hosts):
            return True
        waited_from = max(self._majority_fresh_since, state.started_at, state.leader_heard_at)
        return now - waited_from >= config.lease + config.election_timeout

    def promise(self, now: int) -> None:
        """This node gave its vote to a generation that forms."""
        self._promised_at = now

    def promised(self, now: int) -> bool:
        """Whether a generation that this node voted for may still be about to form: it supports no other now."""
        return now - self._promised_at < self._config.election_timeout // 2

    def abandoned(self, now: int, *, leaderless: bool) -> bool:
        """Whether this member's generation has lost its majority for good, so that the member is to start over."""
        state, config = self._state, self._config
        elsewhere = self._hosts_elsewhere(now) >= config.quorum and self._alone(now)
        if state.hard.fresh or not leaderless or not elsewhere:
            self._majority_elsewhere_since = NEVER
            return False
        if self._majority_elsewhere_since == NEVER:
            self._majority_elsewhere_since = now
        return now - self._majority_elsewhere_since >= config.lease + config.election_timeout

    def _hosts_elsewhere(self, now: int) -> int:
        """Hosts that are fresh or of another generation for all we know now."""
        recent, mine = now - 10 * self._config.heartbeat, self._state.hard.generation
        return sum(
            view.heard_at >= recent and (view.sender.fresh or view.sender.generation != mine)
            for view in self._state.peers.values()
        )

    def due(self, now: int) -> bool:
        """Whether to ask for votes now; the fresh nodes spread their first tries a little."""
        if self._state.role is Role.LEADER or not self.allowed(now) or self.promised(now):
            self.campaign_at = NEVER
            return False
        if self.campaign_at == NEVER:
            self.campaign_at = now + 2 * self._config.heartbeat * self._rank(now)
        if now < self.campaign_at:
            return False
        self.campaign_at = (
            now
            + self._config.election_timeout // 4
            + self._rng.randrange(self._config.election_timeout // 2 + 1)
        )
        return True

    def _rank(self, now: int) -> int:
        """How many fresh hosts with a smaller address are here: they may ask first, so that votes do not split."""
        recent = now - 10 * self._config.heartbeat
        return sum(
            view.sender.fresh and view.heard_at >= recent and peer < self._config.addr
            for peer, view in self._state.peers.items()
        )

    def propose(self) -> Generation:
        """A generation later than every one that was seen, and than those that nobody is left to tell of."""
        return Generation(max(self._highest + 1, self._floor), new_identity(self._rng))
