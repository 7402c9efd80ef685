"""The one clock of the replica, and the identity of the boot that it counts from. Knows no storage.

CLOCK_BOOTTIME counts time asleep and never jumps, so neither a change of the wall clock nor a
suspended machine can bring an expired entry or a lost lease back.
"""

from __future__ import annotations

import time
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

NEVER = 0
"""The `expires_at` of an entry that stays until it is deleted or evicted."""

boottime_ns: Callable[[], int] = partial(time.clock_gettime_ns, time.CLOCK_BOOTTIME)
"""Nanoseconds since this machine was booted, time asleep included. On the way of every read: no frame of Python."""


def is_live(expires_at: int) -> bool:
    """Whether an entry that expires at `expires_at` (boot-time ns, or NEVER) may still be returned."""
    return not expires_at or expires_at > boottime_ns()


@cache
def boot_id() -> bytes:
    """The kernel's random name (16 bytes) of the current boot: boot-time instants of another are void."""
    return bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", ""))
