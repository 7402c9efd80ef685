"""Where tests put a replica: in memory, as sites do, where this machine has a directory for it."""

from __future__ import annotations

from pathlib import Path

SHARED = "/dev/shm" if Path("/dev/shm").is_dir() else None
