"""What LMDB's errors mean for a replica, in sentences that name it. Opens nothing."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import lmdb

from django_hacache.exceptions import ConfigurationError, ReplicaBroken, ReplicaError, ReplicaFull
from django_hacache.replica.layout import MAX_CACHES
from django_hacache.system.platform import address_space

if TYPE_CHECKING:
    from pathlib import Path

MAX_READERS = 1024

_FULL = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO}
)  # LMDB reports a short write to a full tmpfs as EIO
# The file is none that this LMDB could ever read.
_FOREIGN = (lmdb.InvalidError, lmdb.VersionMismatchError)
# What a damaged file leads to, and other things, too.
_SUSPECT = (
    lmdb.BadTxnError,
    lmdb.CorruptedError,
    lmdb.IncompatibleError,
    lmdb.PageNotFoundError,
    lmdb.PanicError,
)


def meaning(
    error: Exception, path: Path, *, map_bytes: int, can_grow: bool
) -> ReplicaError | ConfigurationError:
    """The error of this package for one of LMDB's, in a replica that is `path`.

    can_grow: whether its map is full only because the file system has no room for a longer file.
    """
    directory = path.parent
    if isinstance(error, ReplicaError):
        return error
    code = error.errno if isinstance(error, OSError) else getattr(error, "code", 0)
    if isinstance(error, _FOREIGN + _SUSPECT):
        return ReplicaBroken(f"the replica {path} cannot be read: {error}")
    if isinstance(error, lmdb.MemoryError):
        return ReplicaError(
            f"the replica {path} cannot be mapped: that takes {map_bytes} bytes of address space, and of memory what "
            f"is in use. {address_space()}; expected more, or a smaller SIZE_LIMIT"
        )
    if isinstance(error, lmdb.MapFullError) and not can_grow:
        return ReplicaFull(f"the replica in {directory} has reached its map size: {error}")
    if code in _FULL or isinstance(error, lmdb.MapFullError):
        return ReplicaFull(f"the file system of the replica in {directory} is full: {error}")
    if isinstance(error, lmdb.DbsFullError):
        return ReplicaError(
            f"the replica in {directory} holds {MAX_CACHES} caches and has no room for another"
        )
    if code == errno.EAGAIN:
        return ConfigurationError(
            f"another process with the process id {os.getpid()} uses {directory}, in another container most likely: "
            "expected a PID namespace that all share, or another LOCATION"
        )
    if code == errno.EBUSY:
        return ReplicaError(
            f"this very thread is writing to the replica in {directory}: a signal handler that has interrupted it "
            "cannot write before it goes on"
        )
    if isinstance(error, lmdb.ReadersFullError):
        return ReplicaError(f"{MAX_READERS} reads are open on the replica in {directory}: {error}")
    return ReplicaError(f"the replica {path} cannot be used: {error}")
