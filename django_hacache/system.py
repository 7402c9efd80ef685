"""What differs between operating systems, and the clocks. Knows nothing of caches.

The package is made for Linux and tried there only. On macOS a standalone cache finds all it needs. Elsewhere every
module can be imported, so that a project with the app in it starts, and the first use of a cache says what is missing.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

monotonic: Callable[[], float] = partial(time.clock_gettime, time.CLOCK_MONOTONIC)
"""What time.monotonic() tells. Libraries that freeze time for tests replace that one: a deadline would never come."""
