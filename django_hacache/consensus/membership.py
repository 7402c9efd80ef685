"""Membership: which messages concern this node, which generation it is a member of, and when it starts over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_hacache.consensus.bootstrap import Bootstrap
from django_hacache.consensus.config import CoreConfig, digest_of
from django_hacache.consensus.credible import flaw
from django_hacache.consensus.detector import FailureDetector
from django_hacache.consensus.follower.installation import Installation
from django_hacache.consensus.hard_state import new_identity
from django_hacache.consensus.leader.heartbeats import Heartbeats
from django_hacache.consensus.messages import (
    Append,
    Generation,
    LeaderAck,
    LeaderReq,
    LeaderReqAck,
    Message,
    Ping,
    Probe,
    ProbeReply,
    Sender,
)
from django_hacache.consensus.proposals.proposals import Proposals
from django_hacache.consensus.roles import Roles
from django_hacache.consensus.state import NodeState, Role

if TYPE_CHECKING:
    from random import Random


class Membership:
    def __init__(
        self,
        config: CoreConfig,
        state: NodeState,
        rng: Random,
        roles: Roles,
        bootstrap: Bootstrap,
        detector: FailureDetector,
        heartbeats: Heartbeats,
        installation: Installation,
        proposals: Proposals,
    ) -> None:
        self._peers = config.peers
        self.hosts_digest = digest_of(config.hosts)
        self._state = state
        self._rng = rng
        self._roles = roles
        self._bootstrap = bootstrap
        self._detector = detector
        self._heartbeats = heartbeats
        self._installation = installation
        self._proposals = proposals

    # which messages concern this node

    def counts_the_same_hosts(self, sender: Sender, now_ms: int) -> bool:
        """Whether a majority is the same thing for the sender: those of two lists need have no host in common."""
        if sender.addr not in self._peers:
            return False
        if sender.hosts in ("", self.hosts_digest):
            return True
        self._bootstrap.met_another_list(now_ms)
        return False

    def is_credible(self, sender: Sender, message: Message, now_ms: int) -> bool:
        """Whether an honest node can say so; if not, the Ready tells what was claimed."""
        state = self._state
        why = flaw(sender, message, term=state.term, generation=self._bootstrap.latest_number, now_ms=now_ms)
        if why is not None:
            state.ready.refused.append((sender.addr, why))
        return why is None

    def concerns(self, sender: Sender, message: Message | None, now_ms: int) -> bool:
        """Whether a message is of our generation, or of one that this node joins with it.

        None stands for a part of a replica, which only leaders send.
        """
        hard = self._state.hard
        if isinstance(message, Probe | ProbeReply):
            return True
        if hard.fresh and sender.fresh and isinstance(message, LeaderReq | LeaderReqAck):
            # Fresh nodes form a generation together, whatever each had joined before.
            return True
        if sender.generation == hard.generation:
            if self._is_ahead_of_its_leader(message, now_ms):
                self.start_over(hard.generation)
            return sender.generation is not None
        if sender.generation is None or not _speaks_as_leader(message):
            return False
        return self._join(sender.generation, message, now_ms)

    def _is_ahead_of_its_leader(self, message: Message | None, now_ms: int) -> bool:
        """A fresh node that tried to form a generation must not stay in a term that its leader never reaches."""
        hard = self._state.hard
        if not hard.fresh or hard.generation is None or self._detector.leader_is_live(now_ms):
            return False
        return isinstance(message, Ping) and message.term < hard.term

    # entering a generation

    def _join(self, generation: Generation, message: Message | None, now_ms: int) -> bool:
        """Meet the leader of another generation: join it where nothing of ours is worth keeping."""
        hard = self._state.hard
        if hard.forming == generation and getattr(message, "term", None) == hard.term:
            # This node helped to form it: it counts from the first moment.
            self._roles.step_aside()
            self.enter(generation)
            return True
        if hard.fresh:
            if hard.generation is not None and self._detector.leader_is_live(now_ms):
                return False
        elif not self._gives_up_for(generation, message, now_ms):
            return False
        self.start_over(generation)
        return True

    def _gives_up_for(self, generation: Generation, message: Message | None, now_ms: int) -> bool:
        """Whether a member gives its generation up for a later one: that lives, and its own has no leader."""
        own = self._state.hard.generation
        if own is not None and generation <= own:
            return False
        # Its leader may have entered it alone, and be gone. Protected: a_generation_that_nobody_joined_speaks_late
        if not _has_committed(message):
            return False
        if self._state.role is Role.LEADER and not self._heartbeats.lost_quorum(now_ms):
            return False
        # It may be gone itself: who knew it lost everything since. Protected: a_generation_that_is_gone_speaks_late
        return not self._detector.leader_is_live(now_ms)

    def start_over(self, generation: Generation | None) -> None:
        """Be a fresh node from now on, with nothing and in no term.

        What an earlier leader found out about it, or admits at this moment, is no more: so it is another incarnation.
        """
        self._roles.step_aside()
        self._forget_all(generation)
        self._roles.begin_incarnation(new_identity(self._rng), generation)

    def enter(self, generation: Generation) -> None:
        """Enter a generation that this node has voted for, with nothing, as a member."""
        self._forget_all(generation)
        self._state.harden(generation=generation, fresh=False, forming=None, installing=None)

    def _forget_all(self, generation: Generation | None) -> None:
        state = self._state
        ready = state.ready
        # Drop queued messages: they were written under the old identity.
        # Protected: test_what_a_node_said_before_it_started_over_is_unsaid
        ready.messages.clear()
        ready.snapshots_to.clear()
        self._installation.empty(0, 0)
        state.heard_commit = 0
        if state.hard.generation not in (None, generation):
            # Protected: test_a_change_of_an_earlier_generation_is_looked_up_in_the_new_one
            self._proposals.generation_changed()
        elif generation is not None and state.hard.generation is None:
            self._proposals.generation_known(generation)


def _speaks_as_leader(message: Message | None) -> bool:
    return message is None or isinstance(message, Ping | Append | LeaderAck)


def _has_committed(message: Message | None) -> bool:
    """Whether a leader's message shows that a majority entered its generation, so that ours has none any more.

    A candidate may have entered it alone, while the others formed the one that lives.
    """
    return isinstance(message, Ping | Append) and message.commit_index > 0
