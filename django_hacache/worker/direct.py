"""Direct writes, for which nobody waits: handed to the node's socket, and answered while the caller goes on.

The next write reads the answers. A write that failed, or may have failed, is counted, told to the node with a later
request, and logged at most once a minute. A write at another level waits until the direct ones before it have their
answers: so the writes of a process stay in their order. Must not know caches or values.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from django_hacache.changes.codec import outcome_of
from django_hacache.exceptions import HACacheError
from django_hacache.link.blocking import carried_out
from django_hacache.link.exchange import SUCCESS
from django_hacache.link.lost import lost
from django_hacache.link.pipeline import Pipeline, Waits
from django_hacache.system.interruption import ensure_own
from django_hacache.system.platform import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_hacache.link.connection import Connection
    from django_hacache.link.request import Request
    from django_hacache.worker.breaker import CircuitBreaker

logger = logging.getLogger("django_hacache.cache")

# With so many unanswered writes the next one first looks for answers; with so many it waits for all of them.
LOOK_AT, UNANSWERED_MAX = 32, 256
AGAIN_S = 60.0
# How long a process that ends waits for answers.
PATIENCE_S = 1.0


class DirectWrites(Pipeline[None]):
    """The direct writes of one process to one node."""

    def __init__(
        self,
        take: Callable[[], Connection],
        give_back: Callable[[Connection], None],
        breaker: CircuitBreaker,
    ) -> None:
        super().__init__(take, give_back)
        self._breaker = breaker
        self._said_at: float | None = None
        self._unsaid = 0
        # How many failed, or may have failed, since the node was told.
        self.untold = 0

    def post(self, request: Request, deadline: float) -> Waits[None]:
        """Hand a request to the socket. Raises Lost where the socket does not take it."""
        if len(self.unanswered) >= LOOK_AT and self.collect() >= UNANSWERED_MAX:  # noqa: SIM102 - a wait in between
            if not (yield from self.settle(deadline)):
                raise lost(TimeoutError(f"{UNANSWERED_MAX} direct writes have no answer"))
        yield from self.hand_over(request.req_id, request.payload, None, deadline)

    def tell(self) -> int:
        """Return how many failed, or may have failed, since the last call: the caller tells the node."""
        untold, self.untold = self.untold, 0
        return untold

    def finish(self) -> None:
        """Wait a moment for the answers that are due; to be called when the process ends."""
        if not carried_out(self.settle(monotonic() + PATIENCE_S)):
            self.lose(TimeoutError("timed out"))
        self.close()

    def answered(self, item: None, ack: object) -> None:  # noqa: ARG002 - the name says all
        if ack is SUCCESS:
            return
        try:
            outcome_of(ack)  # type: ignore[arg-type]
        except HACacheError as error:
            ensure_own(error)
            self._count(1, error)

    def given_up(self, items: list[None], cause: Exception) -> None:
        self._count(len(items), f"the node did not answer ({cause})")
        self._breaker.note_given_up()

    def _count(self, writes: int, reason: object) -> None:
        self.untold += writes
        self._unsaid += writes
        now = monotonic()
        if self._said_at is not None and now - self._said_at < AGAIN_S:
            return
        logger.warning(
            "Direct writes that were not made, or may not have been: %d. The last one: %s (said at most once a minute)",
            self._unsaid,
            reason,
        )
        self._said_at, self._unsaid = now, 0
