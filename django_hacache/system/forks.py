"""Notices a fork, also one without Python's hooks, as uWSGI's prefork is.

The kernel empties one page in each forked child. Reading it takes a few nanoseconds; asking for the process id would be
a system call. Must not know what a child has to do.
"""

from __future__ import annotations

import mmap
import os
import threading
from typing import TYPE_CHECKING, Protocol

from django_hacache.system.interruption import ensure_own
from django_hacache.system.platform import after_fork_in_child

if TYPE_CHECKING:
    from collections.abc import Callable

MADV_WIPEONFORK = 18  # Linux 4.14; Python's mmap has no name for it


class Mark(Protocol):
    """`mark[0]` is 1 in the process that set it to 1, and 0 in what was forked from it since."""

    def __getitem__(self, index: int, /) -> int: ...
    def __setitem__(self, index: int, value: int, /) -> None: ...


class ProcessIdMark:
    """For kernels that empty no pages."""

    def __init__(self) -> None:
        self._pid = 0

    def __getitem__(self, index: int, /) -> int:
        return self._pid == os.getpid()

    def __setitem__(self, index: int, value: int, /) -> None:
        self._pid = os.getpid() if value else 0


def new_mark() -> Mark:
    """Return a mark that is set in this process."""
    mark: Mark
    try:
        mark = page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        page.madvise(MADV_WIPEONFORK)
    except (OSError, AttributeError) as error:
        ensure_own(error)
        mark = ProcessIdMark()
    mark[0] = 1
    return mark


class ForkWatch:
    """Has a forked child begin anew: at once where Python forked it, else as soon as somebody looks."""

    __slots__ = ("_begin_anew", "_noticing", "mark")

    def __init__(self, begin_anew: Callable[[], None]) -> None:
        """Take what the child has to do, once and before anything else."""
        self._begin_anew = begin_anew
        # mark[0] is 0 in a child that has not begun anew: whoever uses what it must not inherit calls notice() then.
        self.mark = new_mark()
        self._noticing: dict[int, threading.Lock] = {}
        after_fork_in_child(self._leave)

    def notice(self) -> None:
        """Begin anew if this is a forked child that has not done so; its other threads wait meanwhile."""
        # Each process has a lock of its own. With one lock for all: 1. a thread of a child holds it here; 2. another
        # thread forks a grandchild; 3. there the lock is held for ever, by a thread that the grandchild does not have.
        if not self.mark[0]:
            with self._noticing.setdefault(os.getpid(), threading.Lock()):
                if not self.mark[0]:
                    self._leave()

    def _leave(self) -> None:
        self._begin_anew()
        self.mark[0] = 1
