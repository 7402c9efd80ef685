"""Who has a replica open for writing: one opens at a time, and all of them see each other's process ids.

LMDB tells its readers and writers apart by process and thread ids, which are unique in one PID namespace only. In two,
as two containers have them, one process is taken for the other: reads fail, and after a crash two may write at once.

The locks are POSIX's, which belong to a process: a child that is forked at any moment inherits none of them. For that
price they are lost when the process closes the file, however often it has it open.
"""

from __future__ import annotations

import io
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django_hacache.exceptions import ConfigurationError, ReplicaError
from django_hacache.replica import fork
from django_hacache.system.directory import identity, is_still
from django_hacache.system.interruption import ensure_own
from django_hacache.system.platform import lock_byte, unlock_byte
from django_hacache.system.safe_path import Unfit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from django_hacache.system.directory import Directory

NAME = "replica.members"
NAMESPACE = "/proc/self/ns/pid"
NAME_BYTES_MAX = 64

# What is locked: who opens holds the first byte, who has it open shares the second.
_OPENING, _MEMBERS = 0, 1


def pid_namespace() -> str:
    """Names the PID namespace of this process; empty where it has no name."""
    try:
        found = os.stat(NAMESPACE)  # noqa: PTH116 - the link's target is no path
    except OSError as error:
        ensure_own(error)
        return ""
    return f"{found.st_dev}:{found.st_ino}"


def ensure_same_namespace(directory: Directory) -> None:
    """Raise ConfigurationError where whoever wrote to the directory last lives in another PID namespace."""
    try:
        descriptor = directory.open(NAME)
    except OSError as error:
        ensure_own(error)
        return  # nobody ever has, or what is wrong is told by whoever opens the replica
    try:
        _ensure_same(descriptor, directory.path)
    finally:
        os.close(descriptor)


def _ensure_same(descriptor: int, path: Path) -> None:
    there, own = os.pread(descriptor, NAME_BYTES_MAX, 0).decode(errors="replace"), pid_namespace()
    if there and own and there != own:
        raise ConfigurationError(
            f"{path} is in use by processes of another PID namespace ({there}, this one is {own}), of another "
            "container most likely: expected one that all share, as Compose's `pid: \"service:NAME\"` and Kubernetes' "
            "`shareProcessNamespace: true` make it, or another LOCATION"
        )


class _File(io.FileIO):
    """One that closes itself without a word."""

    __del__ = io.FileIO.close  # see interruption.py


class Membership:
    """One process's part of the file. It ends with the object, and with the process, however that ends."""

    def __init__(self, directory: Directory) -> None:
        self._path = directory.path
        try:
            self._file = _File(directory.open(NAME, os.O_RDWR | os.O_CREAT), "r+")
        except Unfit:
            raise
        except OSError as error:
            ensure_own(error)
            raise ReplicaError(f"cannot open {directory.path / NAME}: {error.strerror}") from error
        self._descriptor = self._file.fileno()

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Be the only process that opens."""
        try:
            lock_byte(self._descriptor, _OPENING)
            yield
        finally:
            unlock_byte(self._descriptor, _OPENING)

    def join(self) -> None:
        """Be one of those that have it open. Raises ConfigurationError where they are elsewhere."""
        own = pid_namespace()
        try:
            lock_byte(self._descriptor, _MEMBERS, wait=False)
        except OSError as error:
            ensure_own(error)
            # By its own descriptor: another one would take this process's locks with it.
            _ensure_same(self._descriptor, self._path)
        else:
            # There is nobody else: where this process lives is where the others have to be.
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, own.encode(), 0)
        lock_byte(self._descriptor, _MEMBERS, shared=True)

    def replaced(self) -> bool:
        """Whether the file at the path is another one: the directory was wiped."""
        return not is_still(self._path / NAME, identity(os.fstat(self._descriptor)))

    def leak(self) -> None:
        """In a forked child: make sure that it is never closed, which would end the child's own membership."""
        fork.leak(self)
