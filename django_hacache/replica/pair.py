"""LMDB's two files, the data and the locks: finds them and keeps them together. Must not open one that is in use."""

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
    """Return the identity of the file at the path, None without one. Raises ReplicaError where it cannot be told."""
    try:
        found = path.stat()
    except OSError as error:
        ensure_own(error)
        if isinstance(error, ABSENT):
            return None
        raise ReplicaError(f"cannot look at the replica {path}: {error.strerror}") from error
    return identity(found)


class Pair(NamedTuple):
    """The identities of LMDB's two files."""

    data: Identity | None
    locks: Identity | None

    def ensure_readable(self, path: Path) -> None:
        """Raise ReplicaError where LMDB would make a new lock file, in which no writer would see this reader."""
        if self.data is not None and self.locks is None:
            raise ReplicaError(
                f"the replica {path} cannot be read: its lock file was removed; the next to write starts anew"
            )


def pair_at(path: Path) -> Pair:
    """Return the pair that is found now by the path. Raises ReplicaError where it cannot be told."""
    return Pair(_identity_at(path / FILE_NAME), _identity_at(path / LOCKS_NAME))


def pair_in(directory: Directory) -> Pair:
    """Return the pair that is in the directory now."""
    return Pair(directory.identity_of(FILE_NAME), directory.identity_of(LOCKS_NAME))


def ensure_pair(directory: Directory) -> None:
    """Leave both files, or neither. Only for the process that opens (see Membership).

    Otherwise: 1. a process has both open; 2. somebody removes one of them; 3. another process opens the replica, and
    LMDB makes the missing one anew; 4. the two processes share one file of the pair and write at once. So the other
    file goes, too; who has it open notices that (Environment.replaced), and follows.
    """
    found = pair_in(directory)
    if found.data is None:
        directory.remove(LOCKS_NAME)
    elif found.locks is None:
        _move_aside(directory, f"the lock file of the replica {directory.path / FILE_NAME} was removed")


def allocate_locks(directory: Directory, size: int) -> None:
    """Allocate the lock file before LMDB opens it.

    Every process maps it: on a full file system a page that was never allocated would kill a process by SIGBUS. Not
    later: closing our descriptor would drop LMDB's POSIX locks on the file.
    """
    found = directory.look(LOCKS_NAME)
    # Where it is allocated, do not even open it: another sub-interpreter of this process may have it open.
    if found is not None and found.st_blocks * 512 >= size:
        return
    descriptor = directory.open(LOCKS_NAME, os.O_RDWR | os.O_CREAT)
    try:
        allocate(descriptor, size)
    finally:
        os.close(descriptor)


def has_replica(path: Path) -> bool:
    """Whether there is a replica to open; opens nothing. Raises ReplicaError where the directory is not fit for one."""
    try:
        with open_private(path) as directory:
            return directory.identity_of(FILE_NAME) is not None
    except NoDirectory as error:
        ensure_own(error)
        return False


def set_aside(
    membership: Membership, directory: Directory, broken: Identity | None, reason: Exception
) -> None:
    """Move a broken data file away, so that the next writer to open the replica starts empty. The last one is kept.

    broken: the identity of the file, so that of two processes only the first moves it.
    """
    with membership.opening():
        if broken is None or directory.identity_of(FILE_NAME) != broken:
            return  # another process was faster
        _move_aside(directory, reason)
        directory.remove(LOCKS_NAME)


def _move_aside(directory: Directory, reason: object) -> None:
    aside = f"{FILE_NAME}.broken-1"
    log.warning("%s: moved to %s, starting empty", reason, directory.path / aside)
    directory.rename(FILE_NAME, aside)
