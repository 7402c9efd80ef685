"""One change on its way, and how far it has come. No rules live here."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from django_hacache.consensus.messages import AckLevel, Generation, Since
from django_hacache.consensus.state import NEVER


class Stage(Enum):
    WAITING = "waiting"  # for a leader, or for a reason to try again
    FORWARDED = "forwarded"  # to the leader
    HELD = "held"  # by this leader, until the order and the replicas have room for it
    ORDERED = "ordered"  # in our own log at index, term
    APPLYING = "applying"  # committed at index; this node has yet to apply it


Key = tuple[str | None, str]


@dataclass(slots=True, eq=False)
class Proposal:
    """One change that this node answers for: to a worker, or as leader to the node that forwarded it."""

    req_id: str
    command: Any
    level: AckLevel
    deadline_ms: int
    token: Any = None
    origin: str | None = None  # the node that forwarded it
    size: int = 0
    # The commit index before it was first sent: it took effect after that or not at all. 0: not sent yet.
    since: int = 0
    # In which generation that is, where a worker says so and this node has none yet.
    since_mark: int = 0
    stage: Stage = Stage.WAITING
    sent_at_ms: int = NEVER
    # It is in the queue of those that are about to be ordered or sent.
    soon: bool = False
    # It was sent or ordered: it may have been applied, or be yet.
    may_have_applied: bool = False
    # It was sent or ordered before its latest way: what is refused now may have happened then.
    was_resent: bool = False
    # How many leaders have had it, and the term of the latest.
    leaders: int = 0
    given_in: int = -1
    index: int = 0
    term: int = 0
    outcome: bytes = b""
    # Under which this node knows it.
    key: Key = field(init=False)

    def __post_init__(self) -> None:
        self.key = (self.origin, self.req_id)

    def given(self, term: int) -> None:
        """Note that the leader of a term has it now."""
        if term != self.given_in:
            self.leaders += 1
            self.given_in = term

    def given_back(self) -> None:
        """Note that the latest of them did not take it."""
        if self.given_in >= 0:
            self.leaders -= 1
            self.given_in = -1

    def sent_before(self, since: Since, generation: Generation | None) -> None:
        """Note that it may have taken effect after `since`, by the word of a worker; this node is in `generation`."""
        self.since, self.since_mark, self.may_have_applied = since.applied, since.mark, True
        if generation is not None:
            self.look_at_all_of(generation)

    def look_at_all_of(self, generation: Generation) -> None:
        """Where `since` is of another generation, it may have taken effect anywhere in this one.

        Protected: test_an_index_of_an_earlier_generation_says_nothing_of_this_one
        """
        if self.since_mark != generation.mark:
            self.since = min(self.since, 1)
