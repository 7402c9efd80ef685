"""The one clock of the replica, and the identity of the boot that it counts from. Must not know storage.

It counts time asleep and never jumps, so neither a change of the wall clock nor a suspended machine can bring an
expired entry or a lost lease back. system/platform.py chooses it.
"""

from __future__ import annotations

from django_hacache.system.platform import boot_id, boottime_ns

__all__ = ["MS", "NEVER", "boot_id", "boottime_ns", "is_live", "now_ms"]

MS = 1_000_000  # ns
NEVER = 0
"""The `expires_at` of an entry that stays until it is deleted or evicted."""


def now_ms() -> int:
    return boottime_ns() // MS


def is_live(expires_at: int) -> bool:
    """Whether an entry that expires at `expires_at` (boot-time ns, or NEVER) may still be returned."""
    return not expires_at or expires_at > boottime_ns()
