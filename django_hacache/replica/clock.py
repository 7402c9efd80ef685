"""The one clock of the replica, and the identity of the boot that it counts from. Knows no storage.

CLOCK_BOOTTIME counts time asleep and never jumps, so neither a change of the wall clock nor a
suspended machine can bring an expired entry or a lost lease back.
"""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

NEVER = 0
"""The `expires_at` of an entry that stays until it is deleted or evicted."""

_CLOCK = time.CLOCK_BOOTTIME
_now_ns = time.clock_gettime_ns


def boottime_ns() -> int:
    """Nanoseconds since this machine was booted, time asleep included."""
    return _now_ns(_CLOCK)


def is_live(expires_at: int) -> bool:
    """Whether an entry that expires at `expires_at` (boot-time ns, or NEVER) may still be returned."""
    return not expires_at or expires_at > _now_ns(_CLOCK)


@cache
def boot_id() -> bytes:
    """The kernel's random name (16 bytes) of the current boot: boot-time instants of another are void."""
    return bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", ""))
