"""LMDB's two files, the data and its locks: which they are, and that they stay together. Opens none that is in use."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, NamedTuple

from django_hacache.exceptions import ReplicaError
from django_hacache.system.directory import ABSENT, Identity, identity, open_private
from django_hacache.system.interruption import ensure_own
from django_hacache.system.platform import allocate
from django_hacache.system.safe_path import NoDirectory

if TYPE_CHECKING:
    from pathlib import Path

    from django_hacache.replica.opening import Membership
    from django_hacache.system.directory import Directory

log = logging.getLogger(__name__)

FILE_NAME = "replica.lmdb"
LOCKS_NAME = f"{FILE_NAME}-lock"


def _identity_at(path: Path) -> Identity | None:
    """The file that others find at the path. Raises ReplicaError where that cannot be found out."""
    try:
        found = path.stat()
    except OSError as error:
        ensure_own(error)
        if isinstance(error, ABSENT):
            return None
        raise ReplicaError(f"cannot look at the replica {path}: {error.strerror}") from error
    return identity(found)


class Pair(NamedTuple):
    """LMDB's two files: whoever has one of a pair open has the other one, too."""

    data: Identity | None
    locks: Identity | None

    def ensure_readable(self, path: Path) -> None:
        """Raise ReplicaError where LMDB would make a lock file of its own: no writer would see what is read there."""
        if self.data is not None and self.locks is None:
            raise ReplicaError(
                f"the replica {path} cannot be read: its lock file was removed; the next to write starts anew"
            )


def pair_at(path: Path) -> Pair:
    """The files that others find now by the path. Raises ReplicaError where that cannot be found out."""
    return Pair(_identity_at(path / FILE_NAME), _identity_at(path / LOCKS_NAME))


def pair_in(directory: Directory) -> Pair:
    """The files that are in it now."""
    return Pair(directory.identity_of(FILE_NAME), directory.identity_of(LOCKS_NAME))


def ensure_pair(directory: Directory) -> None:
    """Leave both files, or neither: where one was removed, others may have the pair open still.

    With a second lock file beside one data file two could write at a time, and with a second data file beside one lock
    file, too. Those others notice that their files were replaced, and follow. Only for who opens (see Membership).
    """
    found = pair_in(directory)
    if found.data is None:
        directory.remove(LOCKS_NAME)
    elif found.locks is None:
        _move_aside(directory, f"the lock file of the replica {directory.path / FILE_NAME} was removed")


def allocate_locks(directory: Directory, size: int) -> None:
    """Give the lock file its place: every process maps it; where none is left, a page of a hole would kill by SIGBUS.

    Before LMDB opens it: closing it later would drop LMDB's own locks (POSIX).
    """
    found = directory.look(LOCKS_NAME)
    # Not even opened where that is done: another sub-interpreter may have it open.
    if found is not None and found.st_blocks * 512 >= size:
        return
    descriptor = directory.open(LOCKS_NAME, os.O_RDWR | os.O_CREAT)
    try:
        allocate(descriptor, size)
    finally:
        os.close(descriptor)


def has_replica(path: Path) -> bool:
    """Whether there is a replica to open; only looks. Raises ReplicaError where the directory is not fit for one."""
    try:
        with open_private(path) as directory:
            return directory.identity_of(FILE_NAME) is not None
    except NoDirectory as error:
        ensure_own(error)
        return False


def set_aside(
    membership: Membership, directory: Directory, broken: Identity | None, reason: Exception
) -> None:
    """Move a broken file away, so that the next one to open it for writing starts empty. One is kept."""
    with membership.opening():
        if broken is None or directory.identity_of(FILE_NAME) != broken:
            return  # another process was faster
        _move_aside(directory, reason)
        directory.remove(LOCKS_NAME)


def _move_aside(directory: Directory, reason: object) -> None:
    aside = f"{FILE_NAME}.broken-1"
    log.warning("%s: moved to %s, starting empty", reason, directory.path / aside)
    directory.rename(FILE_NAME, aside)
