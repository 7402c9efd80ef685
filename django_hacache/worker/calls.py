"""Carries out the changes of a call of the cache API, blocking or in an event loop, within WRITE_TIMEOUT.

It decides what a failure means to the caller: an exception, or what IGNORE_EXCEPTIONS makes of it. Must not know what
the operations are, nor how a writer writes.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation

from django_hacache.conf import AckLevel
from django_hacache.exceptions import CacheUnavailable, HACacheError
from django_hacache.system.platform import monotonic
from django_hacache.worker.block import Call, current, entered
from django_hacache.worker.operations import IGNORABLE, Ack, Operations

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_hacache.changes.outcome import Outcome
    from django_hacache.changes.vocabulary import Change
    from django_hacache.worker.writer import Steps, T

R = TypeVar("R")


class Calls(Operations):
    """Carries out one change, or several in steps, for a caller who waits and for a coroutine."""

    def _perform(self, operation: str, change: Change, ack: Ack) -> bool:
        """Carry out one change; return whether it took effect: False where a failure is ignored."""
        setup = self._setup
        options = setup.options
        level = options.ack_level if ack is None else AckLevel(ack)
        deadline = monotonic() + options.write_timeout_s
        try:
            if entered() is not None and (block := current()) is not None:
                return block.perform(self._call(operation), change, ack=level, deadline=deadline).effective
            return setup.writer.perform(change, ack=level, deadline=deadline).effective
        except IGNORABLE as error:
            self._log_or_raise(operation, error)
            return False

    async def _aperform(self, operation: str, change: Change, ack: Ack) -> bool:
        setup = self._setup
        options = setup.options
        level = options.ack_level if ack is None else AckLevel(ack)
        deadline = monotonic() + options.write_timeout_s
        try:
            if (block := current()) is not None:
                call = self._call(operation)
                return (await block.aperform(call, change, ack=level, deadline=deadline)).effective
            return (await setup.writer.aperform(change, ack=level, deadline=deadline)).effective
        except IGNORABLE as error:
            self._log_or_raise(operation, error)
            return False

    def _decide(self, change: Change, ack: Ack) -> bool:
        """Carry out one change whose answer is a decision, and return that: no failure is ignored."""
        return self._decided(change, ack).effective

    def _decided(self, change: Change, ack: Ack) -> Outcome:
        setup = self._setup
        level = setup.deciding_level if ack is None else self._deciding_level(ack)
        deadline = monotonic() + setup.options.write_timeout_s
        if (block := current()) is not None:
            block.settle()
        return setup.writer.perform(change, ack=level, deadline=deadline)

    async def _adecide(self, change: Change, ack: Ack) -> bool:
        setup = self._setup
        level = setup.deciding_level if ack is None else self._deciding_level(ack)
        deadline = monotonic() + setup.options.write_timeout_s
        if (block := current()) is not None:
            await block.asettle()
        return (await setup.writer.aperform(change, ack=level, deadline=deadline)).effective

    def _call(self, operation: str) -> Call:
        return Call(operation, self._site, self._cache_name, self._setup.writer, self._ignore_or_raise)

    def _ignore_or_raise(self, operation: str, error: HACacheError) -> None:
        """Called where a write of a block has failed, at its end."""
        if not isinstance(error, IGNORABLE):
            raise error
        self._log_or_raise(operation, error)

    def _run(self, steps: Steps[T], ack: AckLevel, operation: str | None = None) -> T:
        """Run the steps of one call and return what they return. operation: None where their answer is a decision.

        The writes of all steps share one WRITE_TIMEOUT; what the steps do in between does not count.
        """
        setup = self._setup
        perform, block = setup.writer.perform, current()
        if block is not None and operation is not None:
            perform = partial(block.perform, self._call(operation))
        elif block is not None:
            block.settle()
        left = setup.options.write_timeout_s
        try:
            change = next(steps)
            while True:
                begun = monotonic()
                try:
                    outcome = perform(change, ack=ack, deadline=begun + left) if left > 0 else _time_is_up()
                except HACacheError as error:
                    change = steps.throw(error)
                else:
                    left -= monotonic() - begun
                    change = steps.send(outcome)
        except StopIteration as end:
            result: T = end.value
            return result

    async def _arun(self, make: Callable[[], Steps[T]], ack: AckLevel, operation: str | None = None) -> T:
        """Run the steps that `make` returns, as _run does."""
        setup = self._setup
        perform, block = setup.writer.aperform, current()
        if block is not None and operation is not None:
            perform = partial(block.aperform, self._call(operation))
        elif block is not None:
            await block.asettle()
        left = setup.options.write_timeout_s
        steps, change, result = await prepared(_first_step, make)
        if change is None:
            return cast("T", result)
        try:
            while True:
                begun = monotonic()
                try:
                    if left <= 0:
                        _time_is_up()
                    outcome = await perform(change, ack=ack, deadline=begun + left)
                except HACacheError as error:
                    change = steps.throw(error)
                else:
                    left -= monotonic() - begun
                    change = steps.send(outcome)
        except StopIteration as end:
            return cast("T", end.value)


async def prepared(make: Callable[..., R], *args: Any) -> R:
    """Return what `make` returns; in a thread, where Django does not let it run in a coroutine.

    Pickling a value may query the database: that of a QuerySet does, and of a deferred model.
    """
    try:
        return make(*args)
    except SynchronousOnlyOperation:
        return await in_thread(make, *args)


async def in_thread(method: Callable[..., R], *args: Any, **kwargs: Any) -> R:
    return await sync_to_async(method, thread_sensitive=True)(*args, **kwargs)


def _first_step(make: Callable[[], Steps[T]]) -> tuple[Steps[T], Change | None, T | None]:
    """Return the steps, their first change, and, where there is no change, what they returned."""
    steps = make()
    try:
        return steps, next(steps), None
    except StopIteration as end:
        # A StopIteration cannot be raised out of a thread into a coroutine.
        return steps, None, end.value


def _time_is_up() -> NoReturn:
    raise CacheUnavailable(
        "The earlier parts of this call have taken the whole WRITE_TIMEOUT; this one was not sent."
    )
