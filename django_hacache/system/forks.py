"""Notices a fork, whoever forked: uWSGI's prefork, for one, runs none of Python's hooks.

The kernel empties one page in each forked child. Looking at it costs a few nanoseconds, asking for the process id would
cost a system call. Knows nothing of what a fork means to anybody.
"""

from __future__ import annotations

import mmap
import os
from typing import Protocol

from django_hacache.system.interruption import ensure_own

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
    """A mark that is set in this process."""
    mark: Mark
    try:
        mark = page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        page.madvise(MADV_WIPEONFORK)
    except (OSError, AttributeError) as error:
        ensure_own(error)
        mark = ProcessIdMark()
    mark[0] = 1
    return mark
