"""Opens a directory by a path that no other user can redirect.

Whoever may write to a directory on a path can put another one in its place; in /tmp and /dev/shm everybody may make a
name first. So walk() opens each directory of the path from the one before, by its descriptor, and checks it before it
goes on.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path, PurePath
from typing import NoReturn

from django_hacache.exceptions import ReplicaError
from django_hacache.system.interruption import ensure_own
from django_hacache.system.platform import is_of_one_user

PRIVATE_DIRECTORY = 0o700
ROOT = 0
LINKS_MAX = 40  # as the kernel has it
# The system's errors where somebody replaced a directory, a link or a file between the look at it and its use.
EXCHANGED = (errno.EINVAL, errno.ELOOP, errno.ENOTDIR)

# Not there on every system on which this can be imported. A descriptor of O_PATH needs no right to read.
HERE = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_STEP = HERE | getattr(os, "O_PATH", 0)


class Unfit(ReplicaError):
    """The path or the file is not this user's alone, or another user could replace it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.errno = errno.EPERM  # of a call of this package: see interruption.py


class NoDirectory(ReplicaError, FileNotFoundError):
    """There is no such directory."""


def walk(path: Path, user: int | None, *, make: bool) -> int:
    """Return a descriptor of the directory at `path`, if only root and `user` (None: its owner) can change any step.

    It follows a link that only they can have made: theirs, and in a directory of theirs; the last step must be none.
    make: make what is missing. Raises Unfit, NoDirectory, and ReplicaError for other errors of the system.
    """
    left = list(reversed(path.absolute().parts[1:]))
    shown, links, here = "", 0, -1
    try:
        here = os.open("/", _STEP)
        found, mounted = os.fstat(here), False
        while left:
            _ensure_parent(path, shown or "/", found, user, mounted=mounted)
            name = left.pop()
            try:
                below = os.stat(name, dir_fd=here, follow_symlinks=False)
            except FileNotFoundError as error:
                ensure_own(error)
                if not make:
                    raise
                _make(name, here)
                below = os.stat(name, dir_fd=here, follow_symlinks=False)
            if left and stat.S_ISLNK(below.st_mode):
                links += 1
                _ensure_link(path, f"{shown}/{name}", found, below, user, links)
                target = PurePath(os.readlink(name, dir_fd=here))
                left += reversed(target.parts)
                if not target.is_absolute():
                    continue
                left.pop()
                name, shown = "/", ""
            else:
                shown = f"{shown}/{name}"
                if not stat.S_ISDIR(below.st_mode):
                    _refuse(path, shown if left else "", below)
            before, here = here, os.open(name, _STEP, dir_fd=here)
            os.close(before)
            above, found = found, os.fstat(here)
            mounted = name not in ("/", "..") and found.st_dev != above.st_dev
    except OSError as error:
        if here >= 0:
            os.close(here)
        ensure_own(error)
        if isinstance(error, ReplicaError):
            raise
        if error.errno in EXCHANGED:
            raise Unfit(
                f"the replica's directory {path} cannot be used: {shown or '/'} was exchanged while it was looked at"
            ) from error
        raise cannot_be_used(path, error) from error
    except BaseException:
        if here >= 0:
            os.close(here)
        raise
    return here


def real(path: str | os.PathLike[str]) -> str:
    """Return the path without links, whoever made them: one text for all names of a directory. Opens nothing.

    os.path.realpath would take an error that a signal handler raises for the answer that there is no link.
    """
    left, here, links = list(reversed(Path(path).absolute().parts)), Path("/"), 0
    while left:
        name = left.pop()
        there = here.parent if name == ".." else here / name
        try:
            target = there.readlink()
        except OSError as error:
            ensure_own(error)  # no link, nothing there, or not to be looked at
            here = there
            continue
        links += 1
        if links > LINKS_MAX:
            return str(there.joinpath(*reversed(left)))
        left += reversed(target.parts)
    return str(here)


def _make(name: str, parent: int) -> None:
    try:
        os.mkdir(name, PRIVATE_DIRECTORY, dir_fd=parent)
    except FileExistsError as error:
        ensure_own(error)  # another process was faster; whatever it made is checked next


def cannot_be_used(path: Path, error: OSError) -> ReplicaError:
    """Return the error of this package for an error of the system."""
    kind = NoDirectory if isinstance(error, FileNotFoundError) else ReplicaError
    hint = ""
    if isinstance(error, PermissionError):
        hint = (
            f"; expected one that user {os.geteuid()} may make, or has. In /run root makes it, as RuntimeDirectory= in "
            "a unit of systemd does"
        )
    failure = kind(f"the replica's directory {path} cannot be used: {error.strerror}{hint}")
    failure.errno = error.errno
    return failure


def _refuse(path: Path, shown: str, found: os.stat_result) -> NoReturn:
    """Raise Unfit since LOCATION itself, or the step `shown` before it, is no directory."""
    of = f"the replica's directory {path}"
    if shown:
        of = f"{of} cannot be used: {shown}"
    if stat.S_ISLNK(found.st_mode):
        raise Unfit(f"{of} is a symbolic link; a real directory is expected")
    raise Unfit(f"{of} is not a directory")


def _ensure_parent(path: Path, shown: str, found: os.stat_result, user: int | None, *, mounted: bool) -> None:
    """Raise Unfit where another user can replace what is in a directory: its owner, and whoever may write to it.

    With the sticky bit only the owner of each entry can. The top of a file system that root mounted passes, too:
    volumes of containers are open to everybody and have no such bit.
    """
    if user is not None and found.st_uid not in (ROOT, user):
        raise Unfit(
            f"the replica's directory {path} cannot be used: {shown} belongs to user {found.st_uid}, who could put "
            f"another one in its place; user {user} or root is expected"
        )
    if found.st_mode & stat.S_ISVTX or (mounted and found.st_uid == ROOT):
        return
    if _others_write(found, user):
        raise Unfit(
            f"the replica's directory {path} cannot be used: {shown} is writable by other users (mode "
            f"{stat.S_IMODE(found.st_mode):04o}), who could put another one in its place; expected a mode such as "
            "0755, or the sticky bit (1777)"
        )


def _ensure_link(
    path: Path, shown: str, parent: os.stat_result, link: os.stat_result, user: int | None, links: int
) -> None:
    # The sticky bit does not help: another user may make a second name, a hard link, of one of root's links.
    if (user is not None and link.st_uid not in (ROOT, user)) or _others_write(parent, user):
        raise Unfit(
            f"the replica's directory {path} cannot be used: {shown} is a symbolic link that other users could have "
            "made; expected links of root or of this user only, where nobody else may make any"
        )
    if links > LINKS_MAX:
        raise Unfit(f"the replica's directory {path} cannot be used: its symbolic links lead nowhere")


def _others_write(found: os.stat_result, user: int | None) -> bool:
    if found.st_mode & stat.S_IWOTH:
        return True
    if not found.st_mode & stat.S_IWGRP or user is None:
        return False
    # Many systems make new files for the user's own group.
    return found.st_gid != ROOT and not is_of_one_user(found.st_gid, user)
