"""The replica's directory: private to this user, or refused. Knows no file inside it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from django_hacache.exceptions import ReplicaError
from django_hacache.interruption import ensure_own

if TYPE_CHECKING:
    from pathlib import Path

PRIVATE_DIRECTORY = 0o700
PRIVATE_FILE = 0o600
# What the system says where there is nothing at a path.
ABSENT = (FileNotFoundError, NotADirectoryError)
OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def ensure_private(directory: Path) -> None:
    """Create the directory for this user only, or make sure that an existing one is fit to hold a replica.

    Raises ReplicaError naming the path: a symbolic link, no directory, not this user's, writable by others, or
    in use for something that others read.
    """
    if not is_there(directory):
        _create(directory)
    check_private(directory)
    mode = stat.S_IMODE(directory.stat().st_mode)
    if flaw := _used_by_others(directory, mode):
        raise ReplicaError(flaw)
    if mode != PRIVATE_DIRECTORY:
        directory.chmod(PRIVATE_DIRECTORY)


def is_there(path: Path) -> bool:
    """Whether anything is at the path, or nobody can tell. Those of the standard library swallow interruptions."""
    try:
        path.lstat()
    except OSError as error:
        ensure_own(error)
        return not isinstance(error, ABSENT)
    return True


def _create(directory: Path) -> None:
    try:
        if not is_there(directory.parent):
            directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=PRIVATE_DIRECTORY)
    except OSError as error:
        ensure_own(error)
        if not isinstance(error, FileExistsError):  # another process was faster, with whatever it is
            raise ReplicaError(
                f"cannot create the replica's directory {directory}: {error.strerror}"
            ) from error


def flaw_of(directory: Path) -> str:
    """Why no user could have a replica there; empty where one could, and where nobody can tell. Changes nothing."""
    try:
        mode = directory.lstat().st_mode
    except OSError as error:
        ensure_own(error)
        if isinstance(error, NotADirectoryError):
            return f"the replica's directory {directory} cannot be created: {error.strerror}"
        return ""  # it will be made, or is for another user to see
    return _of_another_kind(directory, mode) or _writable(directory, mode) or _used_by_others(directory, mode)


def owner_of(directory: Path) -> int | None:
    """The user whose directory it is; None where there is none."""
    try:
        return directory.lstat().st_uid
    except OSError as error:
        ensure_own(error)
        return None


def check_private(directory: Path) -> None:
    """Raise ReplicaError unless `directory` is a real directory of this user that only they can write to."""
    try:
        found = directory.lstat()
    except OSError as error:
        ensure_own(error)
        raise ReplicaError(f"the replica's directory {directory} cannot be used: {error.strerror}") from error
    if flaw := _of_another_kind(directory, found.st_mode):
        raise ReplicaError(flaw)
    if found.st_uid != os.geteuid():
        raise ReplicaError(
            f"the replica's directory {directory} belongs to user {found.st_uid}; "
            f"user {os.geteuid()} is expected"
        )
    if flaw := _writable(directory, found.st_mode):
        raise ReplicaError(flaw)


def _of_another_kind(directory: Path, mode: int) -> str:
    if stat.S_ISLNK(mode):
        return f"the replica's directory {directory} is a symbolic link; a real directory is expected"
    return "" if stat.S_ISDIR(mode) else f"the replica's directory {directory} is not a directory"


def _writable(directory: Path, mode: int) -> str:
    if not mode & (stat.S_IWGRP | stat.S_IWOTH):
        return ""
    return (
        f"the replica's directory {directory} is writable by other users (mode {stat.S_IMODE(mode):04o}); mode 0700 is "
        "expected"
    )


def _used_by_others(directory: Path, mode: int) -> str:
    """Closing it would take from others what they use: the site's own files, or all of "/"."""
    if not mode & OF_OTHERS or not _holds_something(directory):
        return ""
    return (
        f"the replica's directory {directory} is open to other users (mode {stat.S_IMODE(mode):04o}) and not empty; a "
        "directory of its own is expected, or mode 0700"
    )


def _holds_something(directory: Path) -> bool:
    try:
        return any(directory.iterdir())
    except PermissionError as error:
        ensure_own(error)
        return False  # another user's: only the check comes here
