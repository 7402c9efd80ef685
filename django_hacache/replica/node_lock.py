"""The lock of the node that serves a directory: one node at a time, and no standalone process beside it.

The kernel releases it with the process, however that ends. No forked child keeps it: the node forks none, and a process
that only looks takes a POSIX lock, which no child inherits.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django_hacache.exceptions import ReplicaError
from django_hacache.system.directory import open_private
from django_hacache.system.interruption import ensure_own
from django_hacache.system.platform import lock_byte, lock_for_open_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOCK_NAME = "node.lock"
# A process that only looks holds the lock for a moment: that must not keep a node from starting.
LOOK_S, LOOKS_MAX = 0.01, 20


class Occupied(Exception):
    """A node serves the directory. pid: of its process, as text."""

    def __init__(self, pid: str) -> None:
        super().__init__(pid)
        self.pid = pid


@contextmanager
def occupying(path: Path) -> Iterator[None]:
    """Hold the lock of a directory that exists. Raises Occupied where another node has it."""
    with open_private(path) as directory:
        descriptor = directory.open(LOCK_NAME, os.O_RDWR | os.O_CREAT)
    try:
        _lock(descriptor, lambda: lock_for_open_file(descriptor), tries=LOOKS_MAX)
        os.ftruncate(descriptor, 0)
        try:
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        except OSError as error:
            ensure_own(error)  # the file system is full: people are not told which process it is
        yield
    finally:
        os.close(descriptor)


def ensure_unoccupied(path: Path) -> None:
    """Raise Occupied where a node serves the directory at this moment."""
    try:
        with open_private(path) as directory:
            descriptor = directory.open(LOCK_NAME)
    except OSError as error:
        ensure_own(error)
        if isinstance(error, FileNotFoundError):
            return  # no node has ever been here
        if isinstance(error, ReplicaError):
            raise
        raise ReplicaError(f"cannot see whether a node serves {path}: {error.strerror}") from error
    try:
        _lock(descriptor, lambda: lock_byte(descriptor, 0, shared=True, wait=False))
    finally:
        os.close(descriptor)


def _lock(descriptor: int, lock: Callable[[], object], tries: int = 1) -> None:
    for left in reversed(range(tries)):
        try:
            lock()
        except (BlockingIOError, PermissionError) as error:  # POSIX allows both
            ensure_own(error)
            if left == 0:
                pid = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                raise Occupied(pid) from None
            time.sleep(LOOK_S)
        else:
            return
