"""A directory that is this user's alone, and the files in it: opened from its descriptor, never by a path.

Only the files stay open. Whoever holds one asks by its path whether others still find that file there, and opens the
next one through the directory again. Must not know a file by name, nor how the path to the directory is made safe.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Self

from django_hacache.exceptions import ReplicaError
from django_hacache.system.interruption import ensure_own
from django_hacache.system.safe_path import HERE, PRIVATE_DIRECTORY, Unfit, cannot_be_used, walk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

PRIVATE_FILE = 0o600
# The system's errors where there is nothing at a path.
ABSENT = (FileNotFoundError, NotADirectoryError)
OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO

DESCRIPTORS = "/proc/self/fd"
"""Where a descriptor has a path, for those that take nothing else. macOS has none, and /proc may not be mounted."""


class Identity(NamedTuple):
    """Which file it is, whatever it is called."""

    device: int
    inode: int


def identity(found: os.stat_result) -> Identity:
    return Identity(found.st_dev, found.st_ino)


def is_still(path: Path, known: Identity) -> bool:
    """Whether the file at the path is the known one. True where it cannot be looked at: that proves nothing."""
    try:
        return identity(os.stat(path)) == known  # noqa: PTH116 - once for each of many reads
    except OSError as error:
        ensure_own(error)
        return not isinstance(error, ABSENT)


class Directory:
    """An opened directory that only this user can write to. As a context manager it closes itself."""

    __slots__ = ("descriptor", "path")

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor; safe to call again."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def look(self, name: str) -> os.stat_result | None:
        """Return the stat of the entry with this name, no link followed; None where there is none."""
        try:
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError as error:
            ensure_own(error)
            return None

    def identity_of(self, name: str) -> Identity | None:
        found = self.look(name)
        return None if found is None else identity(found)

    def ensure_own(self, name: str, kind: int = stat.S_IFREG) -> None:
        """Raise Unfit where something has this name that is not this user's own, or of another kind.

        To be called before it is opened: a FIFO would block, a device do what devices do. Nobody else can replace it in
        between.
        """
        found = self.look(name)
        if found is not None and (flaw := _flaw_of_file(found, kind)):
            raise Unfit(
                f"{self.path / name} {flaw}: expected nothing, or what this package makes there as user "
                f"{os.geteuid()}; remove it"
            )

    def open(self, name: str, flags: int = os.O_RDONLY) -> int:
        """Return a descriptor of a file of this user's own; `flags` may make it. Raises OSError and Unfit."""
        self.ensure_own(name)
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE, dir_fd=self.descriptor)

    def remove(self, name: str) -> None:
        """Remove a file, where there is one."""
        try:
            os.unlink(name, dir_fd=self.descriptor)
        except FileNotFoundError as error:
            ensure_own(error)

    def rename(self, name: str, to: str) -> None:
        """Give a file another name, in place of a file that may have had it."""
        os.replace(name, to, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def restrict(self, name: str) -> None:
        """Make a file this user's alone, without opening it."""
        os.chmod(name, PRIVATE_FILE, dir_fd=self.descriptor)

    def is_empty(self) -> bool:
        with os.scandir(self.descriptor) as entries:
            return next(entries, None) is None

    @contextmanager
    def reached(self, name: str) -> Iterator[str]:
        """Give a path of the entry with this name, valid in this block: for LMDB and sockets, which take no descriptor.

        The path leads through the descriptor. Where descriptors have no paths it is the ordinary one, and before and
        after the block that has to lead to this directory.
        """
        through = f"{DESCRIPTORS}/{self.descriptor}"
        if self._is_at(through):
            yield f"{through}/{name}"
            return
        self._ensure_found()
        yield str(self.path / name)
        self._ensure_found()

    def _is_at(self, path: str) -> bool:
        try:
            return identity(os.stat(path)) == identity(os.fstat(self.descriptor))  # noqa: PTH116 - no path of a file
        except OSError as error:
            ensure_own(error)
            return False

    def _ensure_found(self) -> None:
        with open_private(self.path) as found:
            if identity(os.fstat(found.descriptor)) != identity(os.fstat(self.descriptor)):
                raise Unfit(f"the replica's directory {self.path} was replaced while it was being used")


def open_private(path: Path) -> Directory:
    """Open a directory of this user that only they can write to.

    Raises NoDirectory, Unfit, and ReplicaError where it cannot be opened for another reason.
    """
    user = os.geteuid()
    step = walk(path, user, make=False)
    try:
        return Directory(path, _opened(path, step, user))
    finally:
        os.close(step)


def ensure_private(path: Path) -> Directory:
    """Open a directory as open_private does; make it, and its parents, where it is missing.

    An empty one that others can read is closed to them. One that is not empty raises Unfit: others may be using it.
    """
    user = os.geteuid()
    step = walk(path, user, make=True)
    try:
        directory = Directory(path, _opened(path, step, user))
    finally:
        os.close(step)
    try:
        mode = stat.S_IMODE(os.fstat(directory.descriptor).st_mode)
        if mode & OF_OTHERS and not directory.is_empty():
            raise Unfit(_in_use_by_others(path, mode))
        if mode != PRIVATE_DIRECTORY:
            os.fchmod(directory.descriptor, PRIVATE_DIRECTORY)
    except BaseException:
        directory.close()
        raise
    return directory


def flaw_of(path: Path) -> str:
    """Say why no user could have a replica there; empty where one could or nobody can tell. Changes nothing."""
    try:
        step = walk(path, owner_of(path), make=False)
    except ReplicaError as error:
        ensure_own(error)
        if isinstance(error, Unfit):
            return str(error)
        return ""  # it will be made, or only another user may look at it
    try:
        mode = os.fstat(step).st_mode
        if flaw := _writable(path, mode):
            return flaw
        if mode & OF_OTHERS and _holds_something(path):
            return _in_use_by_others(path, stat.S_IMODE(mode))
    finally:
        os.close(step)
    return ""


def owner_of(path: Path) -> int | None:
    """Return the id of the user who owns the directory; None where there is none."""
    try:
        return path.lstat().st_uid
    except OSError as error:
        ensure_own(error)
        return None


def is_there(path: Path) -> bool:
    """Whether anything is at the path, or nobody can tell. os.path.exists() swallows what a signal handler raises."""
    try:
        path.lstat()
    except OSError as error:
        ensure_own(error)
        return not isinstance(error, ABSENT)
    return True


def _opened(path: Path, step: int, user: int) -> int:
    """Return the descriptor `step` opened for reading, if the directory is this user's alone."""
    found = os.fstat(step)
    if found.st_uid != user:
        raise Unfit(
            f"the replica's directory {path} belongs to user {found.st_uid}; user {user} is expected. Run what uses "
            "it as one user; if that one has no business there, have root remove it, or name another LOCATION"
        )
    if flaw := _writable(path, found.st_mode):
        raise Unfit(flaw)
    try:
        return os.open(".", HERE, dir_fd=step)
    except OSError as error:
        ensure_own(error)
        raise cannot_be_used(path, error) from error


def _writable(path: Path, mode: int) -> str:
    if not mode & (stat.S_IWGRP | stat.S_IWOTH):
        return ""
    return (
        f"the replica's directory {path} is writable by other users (mode {stat.S_IMODE(mode):04o}); mode 0700 is "
        "expected"
    )


def _in_use_by_others(path: Path, mode: int) -> str:
    return (
        f"the replica's directory {path} is open to other users (mode {mode:04o}) and not empty; a directory of its "
        "own is expected, or mode 0700"
    )


def _holds_something(path: Path) -> bool:
    try:
        return any(path.iterdir())
    except OSError as error:
        ensure_own(error)
        return False  # another user's; only the system check asks of such a directory


def _flaw_of_file(found: os.stat_result, kind: int) -> str:
    if stat.S_IFMT(found.st_mode) != kind:
        return f"is {_KINDS.get(stat.S_IFMT(found.st_mode), 'of an unknown kind')}"
    if found.st_uid != os.geteuid():
        return f"belongs to user {found.st_uid}"
    if kind != stat.S_IFREG:
        return ""
    if found.st_nlink > 1:
        return "has another name elsewhere (a hard link)"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"is writable by other users (mode {stat.S_IMODE(found.st_mode):04o})"
    return ""


_KINDS = {
    stat.S_IFREG: "a plain file",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
