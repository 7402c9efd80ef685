"""A data file all of which has its place on the file system, so that LMDB may write to its map.

A transaction takes a third of the time then: it makes no system call. But a store to a page for which a full file
system has no place would kill the process by SIGBUS. So the map is as long as the file, LMDB itself touches nothing
beyond it, and every page of the file was allocated before it was mapped. A file that has to be longer is allocated
first, which fails without harm. Whether a file is of this kind is decided when it is made and written into it: all
that open it agree. Opens no environment; whoever calls it is the only process that opens (see opening.py).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import lmdb

from django_hacache.replica.pair import FILE_NAME
from django_hacache.system.interruption import ensure_own
from django_hacache.system.platform import allocate, file_system_of

if TYPE_CHECKING:
    from django_hacache.system.directory import Directory

FILE_SYSTEMS = ("tmpfs", "ext4")
"""Where what was allocated can be written to whatever happens. A copy of a file may share its blocks elsewhere."""

REMAPS_SAFELY = (2, 3)
"""Since this release py-lmdb lets no other thread touch a map while it becomes longer."""

STEP_BYTES, STEP_SHARE, STEP_LEAST = 1 << 20, 16, 1 << 16
"""A file becomes longer by so much, or by this share of it; on a full file system by less, but not less than that."""

# Where LMDB leaves the first page as it is.
_MARK_AT, _MARK = 2048, b"django_hacache: every page is allocated\n"


def can_be_made(directory: Directory) -> bool:
    """Whether a file that is made here can be of this kind."""
    release = tuple(int(part) for part in lmdb.__version__.split(".")[:2])
    return (
        sys.platform == "linux"
        and release >= REMAPS_SAFELY
        and file_system_of(Path(os.path.realpath(directory.path))) in FILE_SYSTEMS
    )


def make(directory: Directory) -> None:
    """Make the file that LMDB has just begun, and nobody has open, one of this kind, where there is room for it."""
    descriptor = directory.open(FILE_NAME, os.O_RDWR)
    try:
        allocate(descriptor, STEP_BYTES)
        os.pwrite(descriptor, _MARK, _MARK_AT)
    except OSError as error:
        ensure_own(error)  # it stays one as any other
    finally:
        os.close(descriptor)


def length(directory: Directory) -> int:
    """The length (bytes) to which every page has its place; 0 where the file is not of this kind.

    Raises OSError where a page has none and there is none to give it: somebody may have copied the file with holes.
    """
    descriptor = directory.open(FILE_NAME, os.O_RDWR)
    try:
        if os.pread(descriptor, len(_MARK), _MARK_AT) != _MARK:
            return 0
        there = os.fstat(descriptor).st_size
        allocate(descriptor, there)
        return there
    finally:
        os.close(descriptor)


def lengthened(directory: Directory, *, beyond: int, most: int) -> int:
    """The length of a file of this kind, which becomes longer where it is no longer than `beyond`.

    It does not become longer than `most`, and stays as it is where the file system has no room.
    """
    descriptor = directory.open(FILE_NAME, os.O_RDWR)
    try:
        there = os.fstat(descriptor).st_size
        return there if there > beyond else _lengthened(descriptor, there, most)
    finally:
        os.close(descriptor)


def _lengthened(descriptor: int, there: int, most: int) -> int:
    step = max(STEP_BYTES, there // STEP_SHARE)
    while step >= STEP_LEAST:
        longer = min(there + step, most) // STEP_LEAST * STEP_LEAST
        if longer <= there:
            break
        try:
            os.posix_fallocate(descriptor, there, longer - there)
        except OSError as error:
            ensure_own(error)
            step //= 2
        else:
            return longer
    return there
