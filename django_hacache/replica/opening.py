"""Membership of the processes that have a replica open for writing: one opens at a time, all in one PID namespace.

LMDB tells its readers and writers apart by process and thread ids, which are unique in one PID namespace only. With
two, as in two containers, LMDB takes one process for the other: reads fail, and after a crash two may write at once.

The locks are POSIX locks, which belong to a process: a child that is forked at any moment inherits none. The price is
that a process loses them when it closes any descriptor of the file.
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

# A process holds the first byte of the file while it opens the replica, and shares the second while it has it open.
_OPENING, _MEMBERS = 0, 1


def pid_namespace() -> str:
    """Return a name of this process's PID namespace; empty where the system gives none."""
    try:
        found = os.stat(NAMESPACE)  # noqa: PTH116 - the link's target is no path
    except OSError as error:
        ensure_own(error)
        return ""
    return f"{found.st_dev}:{found.st_ino}"


def ensure_same_namespace(directory: Directory) -> None:
    """Raise ConfigurationError where the processes that write to the directory are in another PID namespace."""
    try:
        descriptor = directory.open(NAME)
    except OSError as error:
        ensure_own(error)
        return  # nobody ever wrote to it, or opening the replica will raise what is wrong
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
    """A file that closes itself in C."""

    __del__ = io.FileIO.close  # see interruption.py


class Membership:
    """The membership of this process. It ends with the object, and with the process, however that ends."""

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
        """Be the only process that opens the replica, in this block."""
        try:
            lock_byte(self._descriptor, _OPENING)
            yield
        finally:
            unlock_byte(self._descriptor, _OPENING)

    def join(self) -> None:
        """Become a member. Raises ConfigurationError where the members are in another PID namespace."""
        own = pid_namespace()
        try:
            lock_byte(self._descriptor, _MEMBERS, wait=False)
        except OSError as error:
            ensure_own(error)
            # By this descriptor: closing another one of the file would drop this process's locks.
            _ensure_same(self._descriptor, self._path)
        else:
            # Nobody else is a member: this process decides in which namespace the others have to be.
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, own.encode(), 0)
        lock_byte(self._descriptor, _MEMBERS, shared=True)

    def replaced(self) -> bool:
        """Whether the file at the path is another one: somebody wiped the directory."""
        return not is_still(self._path / NAME, identity(os.fstat(self._descriptor)))

    def leak(self) -> None:
        """In a forked child: never close the file, since that would end the child's own membership."""
        fork.leak(self)
