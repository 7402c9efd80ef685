"""The replica's directory: private to this user, or refused. Knows no file inside it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from django_hacache.exceptions import ReplicaError

if TYPE_CHECKING:
    from pathlib import Path

PRIVATE_DIRECTORY = 0o700
PRIVATE_FILE = 0o600
OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def ensure_private(directory: Path) -> None:
    """Create the directory for this user only, or make sure that an existing one is fit to hold a replica.

    Raises ReplicaError naming the path: a symbolic link, no directory, not this user's, writable by others, or
    in use for something that others read.
    """
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
    except FileExistsError:
        pass  # something else is at the path: check_private says what
    except OSError as error:
        raise ReplicaError(f"cannot create the replica's directory {directory}: {error.strerror}") from error
    check_private(directory)
    mode = stat.S_IMODE(directory.stat().st_mode)
    if mode & OF_OTHERS and any(directory.iterdir()):
        # Closing it would take from others what they use: the site's own files, or all of "/".
        raise ReplicaError(
            f"the replica's directory {directory} is open to other users (mode {mode:04o}) and not empty; a directory "
            "of its own is expected, or mode 0700"
        )
    if mode != PRIVATE_DIRECTORY:
        directory.chmod(PRIVATE_DIRECTORY)


def check_private(directory: Path) -> None:
    """Raise ReplicaError unless `directory` is a real directory of this user that only they can write to."""
    try:
        found = directory.lstat()
    except OSError as error:
        raise ReplicaError(f"the replica's directory {directory} cannot be used: {error.strerror}") from error
    if stat.S_ISLNK(found.st_mode):
        raise ReplicaError(
            f"the replica's directory {directory} is a symbolic link; a real directory is expected"
        )
    if not stat.S_ISDIR(found.st_mode):
        raise ReplicaError(f"the replica's directory {directory} is not a directory")
    if found.st_uid != os.geteuid():
        raise ReplicaError(
            f"the replica's directory {directory} belongs to user {found.st_uid}; "
            f"user {os.geteuid()} is expected"
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ReplicaError(
            f"the replica's directory {directory} is writable by other users "
            f"(mode {stat.S_IMODE(found.st_mode):04o}); mode 0700 is expected"
        )
