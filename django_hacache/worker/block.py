"""The writes of one block of code, handed over one by one and waited for together. See ../together.py.

Where the order matters it waits earlier: before a read or another write of a key that is on its way, and before every
write whose answer is a decision. A child that is forked in a block leaves what is on its way to its parent. Must not
know how a write travels.
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
    from django_hacache.worker.line import Handed, Line
    from django_hacache.worker.sites import ClusterSite, StandaloneSite
    from django_hacache.worker.writer import PipelinedWriter, Writer

    Site = ClusterSite | StandaloneSite
    # As the replica knows it.
    Key = tuple[Site, str, str]

logger = logging.getLogger("django_hacache.cache")


class Call(NamedTuple):
    """A call of the cache API that writes: what it writes to, by whom it is carried out, and what its failure means."""

    operation: str
    site: Site
    cache: str
    writer: Writer
    ignore_or_raise: Callable[[str, HACacheError], None]


class _Write(NamedTuple):
    call: Call
    line: Line
    handed: Handed


class Block:
    """What is on its way. Used by one thread or task after the other."""

    def __init__(self) -> None:
        self.ended = False
        self._lines: dict[Site, Line] = {}
        self._writes: deque[_Write] = deque()
        self._keys: set[Key] = set()
        self._failures: list[tuple[Call, HACacheError]] = []

    # Handing over

    def perform(self, call: Call, change: Change, *, ack: AckLevel, deadline: float) -> Outcome:
        """Hand the change over, and return that it is done. At level direct nobody waits, in a block either."""
        writer, keys = call.writer.pipelined, _keys_of(call, change)
        if not keys or not self._keys.isdisjoint(keys):
            self.settle()
        if writer is not None and ack is not AckLevel.DIRECT and not isinstance(change, Clear | Move):
            line = self._line(call.site, writer)
            handed = writer.hand_over(line, change, ack=ack, deadline=deadline)
            if handed is not None:
                self._note(_Write(call, line, handed), keys)
                return DONE
        return call.writer.perform(change, ack=ack, deadline=deadline)

    async def aperform(self, call: Call, change: Change, *, ack: AckLevel, deadline: float) -> Outcome:
        """As perform, without blocking the event loop."""
        writer, keys = call.writer.pipelined, _keys_of(call, change)
        if not keys or not self._keys.isdisjoint(keys):
            await self.asettle()
        if writer is not None and ack is not AckLevel.DIRECT and not isinstance(change, Clear | Move):
            line = self._line(call.site, writer)
            handed = await writer.ahand_over(line, change, ack=ack, deadline=deadline)
            if handed is not None:
                self._note(_Write(call, line, handed), keys)
                return DONE
        return await call.writer.aperform(change, ack=ack, deadline=deadline)

    def _note(self, write: _Write, keys: list[Key]) -> None:
        self._writes.append(write)
        self._keys.update(keys)

    def _line(self, site: Site, writer: PipelinedWriter) -> Line:
        self._leave_what_is_inherited()
        line = self._lines.get(site)
        if line is None:
            line = self._lines[site] = writer.new_line()
        return line

    # Waiting

    @property
    def has_writes(self) -> bool:
        """Whether any are on their way."""
        return bool(self._keys)

    def is_on_its_way(self, site: Site, cache: str, names: Iterable[str]) -> bool:
        """Whether a write of one of the keys is."""
        return bool(self._keys) and any((site, cache, name) in self._keys for name in names)

    def settle(self) -> None:
        """Wait for all that was handed over, and keep what failed for the end."""
        self._leave_what_is_inherited()
        while self._writes:
            write = self._writes[0]
            if write.handed.is_on_its_way:
                write.line.wait()
            failure = None
            try:
                write.line.conclude(write.handed)
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
                await write.line.await_()
            failure = None
            try:
                await write.line.aconclude(write.handed)
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
        if any(line.is_inherited for line in self._lines.values()):
            for line in self._lines.values():
                line.abandon()
            self._lines, self._writes, self._keys, self._failures = {}, deque(), set(), []

    # The end

    def close(self) -> None:
        """Hand nothing over any more, and give the connections back."""
        self.ended = True
        for line in self._lines.values():
            if line.unanswered:
                line.lose(ConnectionResetError("The block was interrupted."))
            line.close()

    def tell(self, error: BaseException | None) -> None:
        """Raise what the first write that failed would have raised; log it where `error` is on its way already."""
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
    """The keys that a change touches; none for all, and for one that is not handed over."""
    if isinstance(change, Clear | Move):
        return []
    parts = change.changes if isinstance(change, Batch) else (change,)
    return [(call.site, call.cache, part.key) for part in parts]


_block: ContextVar[Block | None] = ContextVar("django_hacache_block", default=None)


entered = _block.get
"""The block that the calling code is in, or one that has ended; None for most."""


def current() -> Block | None:
    """The block that the calling code is in."""
    block = entered()
    return None if block is None or block.ended else block


def enter(block: Block | None) -> Block | None:
    """Make it the current one, and return the one before."""
    before = _block.get()
    _block.set(block)
    return before
