"""Two hacks for a forked child, which must neither use nor close the LMDB environment that it inherited.

Neither Python nor py-lmdb has an interface for that; tests/replica/test_fork.py fails where one of them changes. Must
not know what is opened.
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

# py-lmdb has it from version 3 on, and imports it only when it opens something: too late for our first environment.
_envid = import_module("lmdb._envid") if find_spec("lmdb._envid") else None
_IMPORTED_BY = os.getpid()
# Whether this thread is in the block below.
_forgetting = threading.local()


def leak(inherited: object) -> None:
    """Make sure that Python never frees an object, and so never closes what it holds: not even at exit.

    Keeping a reference is not enough: at exit Python drops those of all modules. Closing an inherited environment would
    free the reader slot that the parent is using; closing an inherited descriptor would drop the locks that the child
    has on the same file by then.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))


@contextmanager
def inherited_environments_forgotten() -> Iterator[None]:
    """Let a forked child, in this block, open a file that its parent has open.

    py-lmdb 3 refuses a file that the process has open, and counts those that a child inherited. Its registry holds what
    `_envid.env_keys` returns: here the child's keys get a mark. The function stays replaced, and marks only what this
    thread opens in this block. If it were put back after each block: 1. thread A replaces the original; 2. thread B
    replaces A's; 3. A puts the original back; 4. B puts A's back, for good.
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
