"""What an operation of the cache API asks of a writer. Must not know a writer or an operation."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Protocol, TypeVar

from django_hacache.changes.outcome import Outcome
from django_hacache.changes.vocabulary import Change

if TYPE_CHECKING:
    from django_hacache.changes.vocabulary import Sent
    from django_hacache.conf import AckLevel
    from django_hacache.worker.block_pipeline import BlockPipeline, Handed

T = TypeVar("T")

# An operation that needs several changes, free of how it waits: it yields changes, is sent their outcomes, and returns
# what the caller gets. So it is written once, for a caller that blocks and for a coroutine.
Steps = Generator[Change, Outcome, T]


class Writer(Protocol):
    """Carries changes out, one at a time. deadline: as platform.monotonic() tells the time (s)."""

    def perform(self, change: Change, *, ack: AckLevel, deadline: float) -> Outcome: ...

    async def aperform(self, change: Change, *, ack: AckLevel, deadline: float) -> Outcome:
        """The same without blocking the event loop."""

    @property
    def pipelined(self) -> PipelinedWriter | None:
        """What hands changes over; None where there is nobody to wait for."""


class PipelinedWriter(Protocol):
    """Hands changes over, for a block that waits for them later."""

    def new_pipeline(self) -> BlockPipeline:
        """Return the pipeline for the changes of one block."""

    def hand_over(
        self, pipeline: BlockPipeline, change: Sent, *, ack: AckLevel, deadline: float
    ) -> Handed | None:
        """Send a change without waiting for its outcome; return None where it could not be sent."""

    async def ahand_over(
        self, pipeline: BlockPipeline, change: Sent, *, ack: AckLevel, deadline: float
    ) -> Handed | None:
        """The same without blocking the event loop."""
