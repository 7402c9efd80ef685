"""Carries out what a call of the cache API changes, blocking or in an event loop: within its time, by one writer.

Knows neither what the operations are nor how a writer writes. What a failure means to the caller is decided here: an
exception, or what IGNORE_EXCEPTIONS makes of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation

from django_hacache.conf import AckLevel
from django_hacache.exceptions import CacheUnavailable, HACacheError
from django_hacache.system.platform import monotonic
from django_hacache.worker.operations import UNABLE, Ack, Operations

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_hacache.changes.vocabulary import Change
    from django_hacache.worker.writer import Steps, T

R = TypeVar("R")


class Calls(Operations):
    """One change, or several in steps, for a caller who waits and for a coroutine."""

    def _perform(self, operation: str, change: Change, ack: Ack) -> bool:
        """Carry out one change; return whether it took effect: False where a failure is ignored."""
        setup = self._setup
        options = setup.options
        level = options.ack_level if ack is None else AckLevel(ack)
        deadline = monotonic() + options.write_timeout_s
        try:
            return setup.writer.perform(change, ack=level, deadline=deadline).effective
        except UNABLE as error:
            self._log_or_raise(operation, error)
            return False

    async def _aperform(self, operation: str, change: Change, ack: Ack) -> bool:
        setup = self._setup
        options = setup.options
        level = options.ack_level if ack is None else AckLevel(ack)
        deadline = monotonic() + options.write_timeout_s
        try:
            return (await setup.writer.aperform(change, ack=level, deadline=deadline)).effective
        except UNABLE as error:
            self._log_or_raise(operation, error)
            return False

    def _decide(self, change: Change, ack: Ack) -> bool:
        """Carry out one change whose answer is a decision, and return that: no failure is ignored."""
        setup = self._setup
        level = setup.deciding_level if ack is None else self._deciding(ack)
        deadline = monotonic() + setup.options.write_timeout_s
        return setup.writer.perform(change, ack=level, deadline=deadline).effective

    async def _adecide(self, change: Change, ack: Ack) -> bool:
        setup = self._setup
        level = setup.deciding_level if ack is None else self._deciding(ack)
        deadline = monotonic() + setup.options.write_timeout_s
        return (await setup.writer.aperform(change, ack=level, deadline=deadline)).effective

    def _run(self, steps: Steps[T], ack: AckLevel) -> T:
        """Run the steps of one call and return what they return.

        They share one WRITE_TIMEOUT, of which writing alone takes: what they do in between is the caller's time.
        """
        setup = self._setup
        perform = setup.writer.perform
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

    async def _arun(self, make: Callable[[], Steps[T]], ack: AckLevel) -> T:
        """Run the steps that `make` returns, as _run does."""
        setup = self._setup
        perform = setup.writer.aperform
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
    """Return what `make` returns, from a thread where it cannot be had in a coroutine.

    A value may ask the database as it is pickled: a QuerySet does, and a deferred model.
    """
    try:
        return make(*args)
    except SynchronousOnlyOperation:
        return await in_thread(make, *args)


async def in_thread(method: Callable[..., R], *args: Any, **kwargs: Any) -> R:
    return await sync_to_async(method, thread_sensitive=True)(*args, **kwargs)


def _first_step(make: Callable[[], Steps[T]]) -> tuple[Steps[T], Change | None, T | None]:
    """The steps with the first of them taken, and what they returned where there was none."""
    steps = make()
    try:
        return steps, next(steps), None
    except StopIteration as end:
        # It cannot leave a thread for a coroutine as it is.
        return steps, None, end.value


def _time_is_up() -> NoReturn:
    raise CacheUnavailable(
        "The earlier parts of this call have taken the whole WRITE_TIMEOUT; this one was not sent."
    )
