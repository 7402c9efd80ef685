"""What py-lmdb counts as open in this process: LMDB must not open a file twice in one, and py-lmdb refuses to.

It also counts what is none of this process's any more, or not for long. Knows no replica.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import lmdb

from django_hacache.exceptions import ConfigurationError
from django_hacache.system.interruption import ensure_own
from django_hacache.system.platform import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OPEN_ALREADY = "already open in this process"  # what py-lmdb says
CLOSING_WAIT_S, CLOSING_LOOK_S = 1.0, 0.001

_IMPORTED_BY = os.getpid()


class OpenAlready(ConfigurationError):
    """This process has the file open."""


def when_closed(open_it: Callable[[], None]) -> None:
    """Open a file, where need be when another thread has closed it: what one drops is not closed in the same instant.

    Each try locks anew: the locks of a process end with whatever it closes of a file, and so with what is dropped.
    """
    deadline = monotonic() + CLOSING_WAIT_S
    while True:
        try:
            open_it()
        except OpenAlready as error:
            ensure_own(error)
            if monotonic() >= deadline:
                raise ConfigurationError(*error.args) from error
        else:
            return
        time.sleep(CLOSING_LOOK_S)


@contextmanager
def inherited_forgotten() -> Iterator[None]:
    """Let a forked child open what its parent has open.

    py-lmdb 3 refuses a file that the process has open, and counts what a child inherited, which must be
    neither used nor closed there. Its registry holds what `_envid.env_keys` returns: the child's get a mark.
    """
    envid = getattr(lmdb, "_envid", None)
    if envid is None or os.getpid() == _IMPORTED_BY:
        yield
        return
    original, mark = envid.env_keys, os.getpid()
    envid.env_keys = lambda path, subdir: tuple((mark, *key) for key in original(path, subdir))
    try:
        yield
    finally:
        envid.env_keys = original
