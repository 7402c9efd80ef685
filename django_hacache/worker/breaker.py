"""The circuit breaker: after a failed write the next ones fail at once, until the node knows a leader again.

It needs no thread and no probe: the node notes in its control page until when it can write, and reading a word of
shared memory costs nothing. Must not know how a write travels.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from django_hacache.exceptions import CacheBusy, CacheUnavailable, HACacheError, UnknownCache
from django_hacache.system.interruption import ensure_own, is_callers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType


class CircuitBreaker:
    """Shared by all threads of a process for one location. Each write is made in a block of it."""

    def __init__(self, writable_until: Callable[[], int], writable: Callable[[], bool]) -> None:
        """Take what reads the node's control page.

        writable_until: until when (boot time, ns) the node can write, or could last. It only grows: so a process that
        did not write while the node was well again sees afterwards that it was.
        writable: whether the node can write now.
        """
        self._writable_until = writable_until
        self._writable = writable
        self._is_open = False
        self._seen = 0

    def __enter__(self) -> None:
        """Begin a write. Raises CacheUnavailable while one has failed and the node could not write since."""
        if self._is_open:
            if self._writable_until() <= self._seen:
                raise CacheUnavailable(
                    "A write has failed, and since then the node of this host does not run or knows no leader: "
                    "not tried again."
                )
            self._is_open = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._note(error)

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note, in this block, how a write fails that began before: also while the breaker is open."""
        try:
            yield
        except BaseException as error:
            self._note(error)
            raise

    def _note(self, error: BaseException) -> None:
        if isinstance(error, CacheBusy | UnknownCache):
            return  # the node works: it may know other caches, and may have room in a moment
        if isinstance(error, CacheUnavailable) and not is_callers(error):
            self._open()
        elif isinstance(error, CacheUnavailable) or not isinstance(error, HACacheError):
            self.note_given_up()

    def _open(self) -> None:
        """Fail the next writes, until the node notes a later instant than it has noted by now."""
        self._seen = self._writable_until()
        self._is_open = True

    def note_given_up(self) -> None:
        """Note that a time limit of the caller's, or another exception of theirs, ended a write that was under way.

        That proves nothing against the node. But where it cannot write now, the next write would wait in vain, too.
        """
        try:
            if not self._writable():
                self._open()
        except HACacheError as error:
            ensure_own(
                error
            )  # the caller's exception goes on; the next call says what is wrong with the page
