"""The changes that a node answers for: bounded, found by their req_id, and each answered once.

Knows how a change ends, not when: proposals.py and ordering.py decide that.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from django_hacache.consensus.config import CoreConfig
from django_hacache.consensus.messages import AckLevel, ForwardReply, Refusal
from django_hacache.consensus.proposals.held import Held
from django_hacache.consensus.proposals.proposal import Key, Proposal, Stage
from django_hacache.consensus.ready import Completion
from django_hacache.consensus.state import NodeState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Pending:
    def __init__(
        self, config: CoreConfig, state: NodeState, size_of: Callable[[Any], int], held: Held
    ) -> None:
        self._config = config
        self._state = state
        self._size_of = size_of
        self.by_key: dict[Key, Proposal] = {}
        self.bytes = 0
        # How many of them are at level all, and how many came from each peer.
        self.at_all = 0
        self.origins: dict[str, int] = {}
        # Only what is ordered or applying can be completed by progress: in index order by insertion.
        self.ordered: dict[Key, Proposal] = {}
        # What waits for room in the order, or in what holds the caches.
        self.held = held
        # What is to be ordered or sent as soon as there is time, in the order in which it came.
        self.soon: deque[Proposal] = deque()

    def take(self, proposal: Proposal) -> bool:
        """Answer for one more; False where there is no room for it."""
        proposal.size = self._size_of(proposal.command)
        full = len(self.by_key) >= self._config.pending_requests
        if full or self.bytes + proposal.size > self._config.pending_bytes:
            return False
        self.by_key[proposal.key] = proposal
        self.bytes += proposal.size
        self.at_all += proposal.level is AckLevel.ALL
        origin = proposal.origin
        if origin is not None:
            self.origins[origin] = self.origins.get(origin, 0) + 1
        return True

    def ask_again(self, known: Proposal, proposal: Proposal) -> None:
        """The worker asks again on a new connection: the answer goes to the latest."""
        if known.token is not None:
            earlier = Completion(known.token, refusal=Refusal.OUTCOME_UNKNOWN)
            self._state.ready.completions.append(earlier)
        known.token = proposal.token
        known.deadline_ms = max(known.deadline_ms, proposal.deadline_ms)

    # the queue of those that are next

    def queue(self, proposals: Iterable[Proposal]) -> None:
        for proposal in proposals:
            if not proposal.soon:
                proposal.soon = True
                self.soon.append(proposal)

    def empty_queue(self) -> None:
        for proposal in self.soon:
            proposal.soon = False
        self.soon.clear()

    # the ends

    def complete(self, proposal: Proposal) -> None:
        self._drop(proposal)
        if proposal.origin is None:
            completion = Completion(proposal.token, proposal.outcome, proposal.index)
            self._state.ready.completions.append(completion)
        else:
            reply = ForwardReply(
                proposal.req_id, proposal.index, proposal.term, proposal.outcome, command=proposal.command
            )
            self._state.send(proposal.origin, reply)

    def refuse(self, proposal: Proposal, refusal: Refusal, reason: str = "") -> None:
        self._drop(proposal)
        if proposal.origin is None:
            completion = Completion(proposal.token, refusal=refusal, reason=reason)
            self._state.ready.completions.append(completion)
        else:
            reply = ForwardReply(proposal.req_id, refusal=refusal, command=proposal.command, reason=reason)
            self._state.send(proposal.origin, reply)

    def _drop(self, proposal: Proposal) -> None:
        key, origin = proposal.key, proposal.origin
        if self.by_key.get(key) is proposal:
            del self.by_key[key]
            self.bytes -= proposal.size
            self.at_all -= proposal.level is AckLevel.ALL
            if origin is not None:
                self.origins[origin] -= 1
                if not self.origins[origin]:
                    del self.origins[origin]
        if self.ordered.get(key) is proposal:
            del self.ordered[key]
        if proposal.stage is Stage.HELD:
            self.held.drop(proposal)
