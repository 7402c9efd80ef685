"""Reads files that settings name, and never waits: what is no regular file is refused. Must not know a setting."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


# A bundle of every public certificate authority takes a quarter of it.
PEM_BYTES_MAX = 1 << 20


class UnfitFile(Exception):
    """The file cannot be used; the message says why, as "it is ..."."""


def content_of(path: Path, bytes_max: int) -> tuple[bytes, os.stat_result]:
    """Return the content of a regular file and its stat. Raises UnfitFile or OSError.

    bytes_max: a longer file is refused.
    """
    # Opening a FIFO without O_NONBLOCK waits until somebody writes into it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise UnfitFile("it is a directory" if stat.S_ISDIR(state.st_mode) else "it is no regular file")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(bytes_max + 1)
    finally:
        os.close(descriptor)
    if len(content) > bytes_max:
        raise UnfitFile(f"it has more than {bytes_max} bytes")
    return content, state
