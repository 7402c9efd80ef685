"""LMDB's two files, the data and its locks: which they are, and that they stay together. Opens neither."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from django_hacache.exceptions import ReplicaError
from django_hacache.interruption import ensure_own
from django_hacache.replica.directory import ABSENT, check_private, is_there

if TYPE_CHECKING:
    from pathlib import Path

    from django_hacache.replica.opening import Membership

log = logging.getLogger(__name__)

FILE_NAME = "replica.lmdb"
LOCKS_NAME = f"{FILE_NAME}-lock"


class Identity(NamedTuple):
    """Which file it is, whatever it is called."""

    device: int
    inode: int


def identity_of(path: Path) -> Identity | None:
    """The file at the path; None where there is none. Raises ReplicaError where that cannot be found out."""
    try:
        found = path.stat()
    except OSError as error:
        ensure_own(error)
        if isinstance(error, ABSENT):
            return None
        raise ReplicaError(f"cannot look at the replica {path}: {error.strerror}") from error
    return Identity(found.st_dev, found.st_ino)


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


def pair_at(directory: Path) -> Pair:
    """The files that are there now. Raises ReplicaError where that cannot be found out."""
    return Pair(identity_of(directory / FILE_NAME), identity_of(directory / LOCKS_NAME))


def ensure_pair(directory: Path) -> None:
    """Leave both files, or neither: where one was removed, others may have the pair open still.

    With a second lock file beside one data file two could write at a time, and with a second data file beside one lock
    file, too. Those others notice that their files were replaced, and follow. Only for who opens (see Membership).
    """
    found = pair_at(directory)
    if found.data is None:
        _remove(directory / LOCKS_NAME)
    elif found.locks is None:
        path = directory / FILE_NAME
        _move_aside(path, f"the lock file of the replica {path} was removed")


def has_replica(directory: Path) -> bool:
    """Whether there is a replica to open; only looks. Raises ReplicaError where the directory is not fit for one."""
    if not is_there(directory):
        return False
    check_private(directory)
    return identity_of(directory / FILE_NAME) is not None


def set_aside(membership: Membership, directory: Path, broken: Identity | None, reason: Exception) -> None:
    """Move a broken file away, so that the next one to open it for writing starts empty. One is kept."""
    path = directory / FILE_NAME
    with membership.opening():
        if broken is None or identity_of(path) != broken:
            return  # another process was faster
        _move_aside(path, reason)
        _remove(path.with_name(LOCKS_NAME))


def _move_aside(path: Path, reason: object) -> None:
    aside = path.with_name(f"{FILE_NAME}.broken-1")
    log.warning("%s: moved to %s, starting empty", reason, aside)
    path.replace(aside)


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except FileNotFoundError as error:
        ensure_own(error)
