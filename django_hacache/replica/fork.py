"""What a forked child does with LMDB behind its back: it neither uses nor closes what it inherited, and opens its own.

Neither Python nor py-lmdb has an interface for that. Here are the two ways round them, and tests/replica/test_fork.py
fails where one of them changes. Knows nothing of what is opened.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import lmdb

if TYPE_CHECKING:
    from collections.abc import Iterator

_IMPORTED_BY = os.getpid()


def leak(inherited: object) -> None:
    """Make sure that Python never frees an object, and so never closes what it has: not even when it exits.

    A reference that somebody keeps is not enough: the last clean-up drops those of all modules. Closing an inherited
    environment would free the reader slot that the parent is using; closing an inherited descriptor drops the locks
    that the child has on the same file by then.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))


@contextmanager
def inherited_environments_forgotten() -> Iterator[None]:
    """Let a forked child open what its parent has open.

    py-lmdb 3 refuses a file that the process has open, and counts what a child inherited. Its registry holds what
    `_envid.env_keys` returns: the child's get a mark.
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
