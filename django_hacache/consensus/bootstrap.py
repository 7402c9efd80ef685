"""How a cluster forms, and how a node that lost its state comes back.

A fresh node has forgotten promises and entries that others counted. It neither votes nor campaigns in the
generation it finds, and its answers count for nothing, until the leader admits it. Only when a majority of all hosts
is fresh may the fresh ones elect a leader of a new generation, in which every cache is empty.

Two candidates may form a generation each, and neither win a majority of members. So a node without a leader that has
seen for long enough that a majority of all hosts is not of its generation gives it up: it can never lead again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_hacache.consensus.config import CoreConfig
from django_hacache.consensus.detector import FailureDetector
from django_hacache.consensus.hard_state import new_identity
from django_hacache.consensus.messages import Generation
from django_hacache.consensus.state import NEVER, NodeState, Role

if TYPE_CHECKING:
    from random import Random


class Bootstrap:
    def __init__(
        self,
        config: CoreConfig,
        state: NodeState,
        rng: Random,
        detector: FailureDetector,
        generation_floor: int,
    ) -> None:
        self._config = config
        self._state = state
        self._rng = rng
        self._detector = detector
        # No generation has a smaller number: it is that of the seconds since 1970 when this node started.
        self.floor = generation_floor
        self._highest = 0
        for generation in (state.hard.generation, state.hard.forming):
            self.saw(generation)
        self._majority_fresh_since_ms = NEVER
        self._majority_elsewhere_since_ms = NEVER
        self._promised_at_ms = NEVER
        self._another_list_at_ms = NEVER
        self.campaign_at_ms = NEVER

    @property
    def latest_number(self) -> int:
        """The highest number of a generation that is, or may be, the latest one."""
        return max(self._highest, self.floor)

    def saw(self, generation: Generation | None) -> None:
        """Note a generation that there is, or that a candidate asks to form: a later one has a greater number."""
        if generation is not None:
            self._highest = max(self._highest, generation.number)

    def met_another_list(self, now_ms: int) -> None:
        """Somebody counts other hosts. They may have a generation that lives, and a majority of their own."""
        self._another_list_at_ms = now_ms
        self._majority_fresh_since_ms = self._majority_elsewhere_since_ms = NEVER

    def _alone(self, now_ms: int) -> bool:
        """Whether there is nobody who counts other hosts, for all we know now."""
        return now_ms - self._another_list_at_ms >= self._config.election_timeout_ms

    def _fresh_hosts(self, now_ms: int) -> int:
        """Hosts that are fresh for all we know now, this one included."""
        recent_ms = now_ms - 10 * self._config.heartbeat_ms
        peers = self._state.peers.values()
        return 1 + sum(view.sender.fresh and view.heard_at_ms >= recent_ms for view in peers)

    def is_allowed(self, now_ms: int) -> bool:
        """Whether this node may take part in forming a generation now.

        Leases that a lost majority granted outlive it by at most one lease: so it waits, unless every host is
        here and fresh and nobody can hold one.
        """
        state, config = self._state, self._config
        if not state.hard.fresh or not self._alone(now_ms):
            return False
        fresh = self._fresh_hosts(now_ms)
        if fresh < config.quorum:
            self._majority_fresh_since_ms = NEVER
            return False
        if self._majority_fresh_since_ms == NEVER:
            self._majority_fresh_since_ms = now_ms
        if now_ms - self._detector.heard_at_ms < config.election_timeout_ms:
            return False
        if fresh == len(config.hosts):
            return True
        # Protected: a_majority_is_lost_beside_a_leader_that_reads
        waited_from_ms = max(self._majority_fresh_since_ms, state.started_at_ms, self._detector.heard_at_ms)
        return now_ms - waited_from_ms >= config.lease_ms + config.election_timeout_ms

    def promise(self, now_ms: int) -> None:
        """This node gave its vote to a generation that forms."""
        self._promised_at_ms = now_ms

    def has_promised(self, now_ms: int) -> bool:
        """Whether a generation that this node voted for may still be about to form: it supports no other now."""
        return now_ms - self._promised_at_ms < self._config.election_timeout_ms // 2

    def is_abandoned(self, now_ms: int, *, leaderless: bool) -> bool:
        """Whether this member's generation has lost its majority for good, so that the member is to start over."""
        state, config = self._state, self._config
        elsewhere = self._hosts_elsewhere(now_ms) >= config.quorum and self._alone(now_ms)
        if state.hard.fresh or not leaderless or not elsewhere:
            self._majority_elsewhere_since_ms = NEVER
            return False
        if self._majority_elsewhere_since_ms == NEVER:
            self._majority_elsewhere_since_ms = now_ms
        return now_ms - self._majority_elsewhere_since_ms >= config.lease_ms + config.election_timeout_ms

    def _hosts_elsewhere(self, now_ms: int) -> int:
        """Hosts that are fresh or of another generation for all we know now."""
        recent_ms, mine = now_ms - 10 * self._config.heartbeat_ms, self._state.hard.generation
        return sum(
            view.heard_at_ms >= recent_ms and (view.sender.fresh or view.sender.generation != mine)
            for view in self._state.peers.values()
        )

    def is_due(self, now_ms: int) -> bool:
        """Whether to ask for votes now; the fresh nodes spread their first tries a little."""
        if self._state.role is Role.LEADER or not self.is_allowed(now_ms) or self.has_promised(now_ms):
            self.campaign_at_ms = NEVER
            return False
        if self.campaign_at_ms == NEVER:
            self.campaign_at_ms = now_ms + 2 * self._config.heartbeat_ms * self._rank(now_ms)
        if now_ms < self.campaign_at_ms:
            return False
        self.campaign_at_ms = (
            now_ms
            + self._config.election_timeout_ms // 4
            + self._rng.randrange(self._config.election_timeout_ms // 2 + 1)
        )
        return True

    def _rank(self, now_ms: int) -> int:
        """How many fresh hosts with a smaller address are here: they may ask first, so that votes do not split."""
        recent_ms = now_ms - 10 * self._config.heartbeat_ms
        return sum(
            view.sender.fresh and view.heard_at_ms >= recent_ms and peer < self._config.addr
            for peer, view in self._state.peers.items()
        )

    def propose(self) -> Generation:
        """A generation later than every one that was seen, and than those that nobody is left to tell of."""
        return Generation(max(self._highest + 1, self.floor), new_identity(self._rng))
