"""Files that settings name: read at once or not at all, whatever stands there. Knows no settings."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


# A list of all authorities that there are has a quarter of it.
PEM_BYTES_MAX = 1 << 20


class Unfit(Exception):
    """What is there is not what it should be; the message says why, as "it is ..."."""


def content_of(path: Path, bytes_max: int) -> tuple[bytes, os.stat_result]:
    """What is in a regular file, and what is known of it. Raises Unfit or OSError."""
    # A FIFO would keep the node until somebody writes into it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise Unfit("it is a directory" if stat.S_ISDIR(state.st_mode) else "it is no regular file")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(bytes_max + 1)
    finally:
        os.close(descriptor)
    if len(content) > bytes_max:
        raise Unfit(f"it has more than {bytes_max} bytes")
    return content, state
