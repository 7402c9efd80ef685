"""After a failure the next writes fail at once, until the node says that it knows a leader again.

No thread and no probing: the node writes into its control page until when it can write, and reading a word
of shared memory costs nothing. Knows that page, not how a write travels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_hacache.exceptions import CacheBusy, CacheUnavailable, HACacheError, UnknownCache
from django_hacache.system.interruption import ensure_own, is_callers

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class CircuitBreaker:
    """Shared by all threads of a process for one location. Each write is made in a block of it."""

    def __init__(self, writable_until: Callable[[], int], writable: Callable[[], bool]) -> None:
        """Take what says until when the node of this host can write, or could (it grows), and whether it can now.

        Whoever did not write while the node was well again finds that out all the same.
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
        if error is None or isinstance(error, CacheBusy | UnknownCache):
            return  # the node works: it knows other caches, or has room for others, or will have it in a moment
        if isinstance(error, CacheUnavailable) and not is_callers(error):
            self._open()
        elif isinstance(error, CacheUnavailable) or not isinstance(error, HACacheError):
            self._note_given_up()

    def _open(self) -> None:
        """Note that a write has failed. What the node said before that counts no more."""
        self._seen = self._writable_until()
        self._is_open = True

    def _note_given_up(self) -> None:
        """Note that a caller's own time limit, or whatever else arrived, has ended a write that was under way.

        It says nothing of the node, unless that cannot write just now: then the next one would wait in vain, too.
        """
        try:
            if not self._writable():
                self._open()
        except HACacheError as error:
            ensure_own(error)  # else the caller's is raised; what is wrong with the page, the next call says
