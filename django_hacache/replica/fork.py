"""What a forked child does with LMDB behind its back: it neither uses nor closes what it inherited, and opens its own.

Neither Python nor py-lmdb has an interface for that. Here are the two ways round them, and tests/replica/test_fork.py
fails where one of them changes. Knows nothing of what is opened.
"""

from __future__ import annotations

import ctypes
import os
import threading
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# It is there from py-lmdb 3 on, which imports it as late as it opens something: too late for what is opened first.
_envid = import_module("lmdb._envid") if find_spec("lmdb._envid") else None
_IMPORTED_BY = os.getpid()
# Whether this thread is in the block below.
_forgetting = threading.local()


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
    `_envid.env_keys` returns: the child's get a mark. The function stays replaced there, and marks what this thread
    opens in this block only: two threads that each put back what they had found would leave the wrong one for good.
    """
    if _envid is None or os.getpid() == _IMPORTED_BY:
        yield
        return
    if _envid.env_keys is not _keys:
        _keys.original, _envid.env_keys = _envid.env_keys, _keys  # type: ignore[attr-defined]
    before, _forgetting.now = getattr(_forgetting, "now", False), True
    try:
        yield
    finally:
        _forgetting.now = before


def _keys(path: object, subdir: object) -> tuple[tuple[object, ...], ...]:
    keys: tuple[tuple[object, ...], ...] = _keys.original(path, subdir)  # type: ignore[attr-defined]
    return tuple((os.getpid(), *key) for key in keys) if getattr(_forgetting, "now", False) else keys
