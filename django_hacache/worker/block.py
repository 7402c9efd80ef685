"""The writes of one block of code, handed over one by one and waited for together: see together.py.

Where the order matters the block waits earlier: before a read or another write of a key with a write on its way, and
before every write whose answer is a decision. So it does where very many are on their way. A child that is forked in a
block leaves the writes on their way to its parent. Must not know how a write travels.
"""

from __future__ import annotations

import logging
from collections import deque
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

from django_hacache.changes.outcome import DONE
from django_hacache.changes.vocabulary import Batch, Clear, Move
from django_hacache.conf import AckLevel
from django_hacache.exceptions import HACacheError
from django_hacache.system.interruption import ensure_own

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django_hacache.changes.outcome import Outcome
    from django_hacache.changes.vocabulary import Change
    from django_hacache.worker.block_pipeline import BlockPipeline, Handed
    from django_hacache.worker.sites import ClusterSite, StandaloneSite
    from django_hacache.worker.writer import PipelinedWriter, Writer

    Site = ClusterSite | StandaloneSite
    # A key of a cache, as the replica stores it.
    Key = tuple[Site, str, str]

logger = logging.getLogger("django_hacache.cache")

# With so many writes on their way a block waits for all of them before the next one: it keeps each until its answer.
WRITES_MAX = 1024


class Call(NamedTuple):
    """A call of the cache API that writes: its cache, its writer, and what handles its failure."""

    operation: str
    site: Site
    cache: str
    writer: Writer
    ignore_or_raise: Callable[[str, HACacheError], None]


class _Write(NamedTuple):
    call: Call
    pipeline: BlockPipeline
    handed: Handed


class Block:
    """The writes of a block that are on their way. Used by one thread or task after the other."""

    def __init__(self) -> None:
        self.ended = False
        self._pipelines: dict[Site, BlockPipeline] = {}
        self._writes: deque[_Write] = deque()
        self._keys: set[Key] = set()
        self._failures: list[tuple[Call, HACacheError]] = []

    # Handing over

    def perform(self, call: Call, change: Change, *, ack: AckLevel, deadline: float) -> Outcome:
        """Hand the change over, and return DONE; carry it out at once where it cannot be handed over."""
        writer, keys = call.writer.pipelined, _keys_of(call, change)
        if not keys or not self._keys.isdisjoint(keys) or len(self._writes) >= WRITES_MAX:
            self.settle()
        if writer is not None and ack is not AckLevel.DIRECT and not isinstance(change, Clear | Move):
            pipeline = self._pipeline(call.site, writer)
            handed = writer.hand_over(pipeline, change, ack=ack, deadline=deadline)
            if handed is not None:
                self._note(_Write(call, pipeline, handed), keys)
                return DONE
        return call.writer.perform(change, ack=ack, deadline=deadline)

    async def aperform(self, call: Call, change: Change, *, ack: AckLevel, deadline: float) -> Outcome:
        """As perform, without blocking the event loop."""
        writer, keys = call.writer.pipelined, _keys_of(call, change)
        if not keys or not self._keys.isdisjoint(keys) or len(self._writes) >= WRITES_MAX:
            await self.asettle()
        if writer is not None and ack is not AckLevel.DIRECT and not isinstance(change, Clear | Move):
            pipeline = self._pipeline(call.site, writer)
            handed = await writer.ahand_over(pipeline, change, ack=ack, deadline=deadline)
            if handed is not None:
                self._note(_Write(call, pipeline, handed), keys)
                return DONE
        return await call.writer.aperform(change, ack=ack, deadline=deadline)

    def _note(self, write: _Write, keys: list[Key]) -> None:
        self._writes.append(write)
        self._keys.update(keys)

    def _pipeline(self, site: Site, writer: PipelinedWriter) -> BlockPipeline:
        self._leave_what_is_inherited()
        pipeline = self._pipelines.get(site)
        if pipeline is None:
            pipeline = self._pipelines[site] = writer.new_pipeline()
        return pipeline

    # Waiting

    @property
    def has_writes(self) -> bool:
        """Whether any write is on its way."""
        return bool(self._keys)

    def is_on_its_way(self, site: Site, cache: str, names: Iterable[str]) -> bool:
        """Whether a write of one of the keys is on its way."""
        return bool(self._keys) and any((site, cache, name) in self._keys for name in names)

    def settle(self) -> None:
        """Wait for every write that was handed over, and keep the failures for tell()."""
        self._leave_what_is_inherited()
        while self._writes:
            write = self._writes[0]
            if write.handed.is_on_its_way:
                write.pipeline.wait()
            failure = None
            try:
                write.pipeline.conclude(write.handed)
            except HACacheError as error:
                ensure_own(error)
                failure = error
            self._done(write, failure)
        self._keys.clear()

    async def asettle(self) -> None:
        """As settle, without blocking the event loop."""
        self._leave_what_is_inherited()
        while self._writes:
            write = self._writes[0]
            if write.handed.is_on_its_way:
                await write.pipeline.await_()
            failure = None
            try:
                await write.pipeline.aconclude(write.handed)
            except HACacheError as error:
                ensure_own(error)
                failure = error
            self._done(write, failure)
        self._keys.clear()

    def _done(self, write: _Write, failure: HACacheError | None) -> None:
        # Another thread or task of the same block may have been faster.
        if self._writes and self._writes[0] is write:
            self._writes.popleft()
            if failure is not None:
                self._failures.append((write.call, failure))

    def _leave_what_is_inherited(self) -> None:
        if any(pipeline.is_inherited for pipeline in self._pipelines.values()):
            for pipeline in self._pipelines.values():
                pipeline.abandon()
            self._pipelines, self._writes, self._keys, self._failures = {}, deque(), set(), []

    # The end

    def close(self) -> None:
        """Hand nothing over any more, and give the connections back."""
        self.ended = True
        for pipeline in self._pipelines.values():
            if pipeline.unanswered:
                pipeline.lose(ConnectionResetError("The block was interrupted."))
            pipeline.close()

    def tell(self, error: BaseException | None) -> None:
        """Raise what the first write that failed would have raised, and log the others.

        error: with which the block ends; then all failures are logged.
        """
        failures, self._failures = self._failures, []
        first: HACacheError | None = None
        for call, failure in failures:
            try:
                call.ignore_or_raise(call.operation, failure)
            except HACacheError as told:
                if first is not None or error is not None:
                    # Where it came from says nothing: it is the end of a block.
                    logger.error("%s on the cache %r failed: %s", call.operation, call.cache, told)  # noqa: TRY400
                first = first or told
        if first is not None and error is None:
            raise first


def _keys_of(call: Call, change: Change) -> list[Key]:
    """Return the keys that a change writes; empty for one that is not handed over."""
    if isinstance(change, Clear | Move):
        return []
    parts = change.changes if isinstance(change, Batch) else (change,)
    return [(call.site, call.cache, part.key) for part in parts]


_block: ContextVar[Block | None] = ContextVar("django_hacache_block", default=None)


entered = _block.get
"""The block that the calling code is in, or one that has ended; None for most."""


def current() -> Block | None:
    """Return the block that the calling code is in."""
    block = entered()
    return None if block is None or block.ended else block


def enter(block: Block | None) -> Block | None:
    """Make a block the current one, and return the one before."""
    before = _block.get()
    _block.set(block)
    return before
