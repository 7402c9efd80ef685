"""What differs between operating systems, and the clocks. Knows nothing of caches.

The package is made for Linux and tried there only. On macOS a standalone cache finds all it needs. Elsewhere every
module can be imported, so that a project with the app in it starts, and the first use of a cache says what is missing.
"""

from __future__ import annotations

import os
import re
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

monotonic: Callable[[], float] = partial(time.clock_gettime, time.CLOCK_MONOTONIC)
"""What time.monotonic() tells. Libraries that freeze time for tests replace that one: a deadline would never come."""

MOUNTS = Path("/proc/self/mountinfo")
ESCAPED = re.compile(r"\\([0-7]{3})")


def file_system_of(path: Path) -> str | None:
    """The type of the file system ("tmpfs", "ext4") that `path` is on or would be on, None where nobody says."""
    try:
        lines = MOUNTS.read_text().splitlines()
    except OSError:
        return None
    target = Path(os.path.realpath(path))
    found, depth = None, 0
    for line in lines:
        mounted, _, described = line.partition(" - ")
        point = Path(ESCAPED.sub(lambda code: chr(int(code[1], 8)), mounted.split()[4]))
        # The last one that is mounted over a directory hides those before.
        if target.is_relative_to(point) and len(point.parts) >= depth:
            found, depth = described.split()[0], len(point.parts)
    return found
