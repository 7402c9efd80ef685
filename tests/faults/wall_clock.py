"""Hosts with wall clocks of their own, which a test may move: libfaketime fakes them, and no other clock."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from tests.clusters import PYTHON
from tests.faults.cluster import Host

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
OWN_CLOCKS = {
    "LD_PRELOAD": str(LIBRARY or ""),
    # The file that says how far the clock is off is read at every look at the clock.
    "FAKETIME_NO_CACHE": "1",
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
}
HOUR_S = 3600
CLOCKS = ("CLOCK_REALTIME", "CLOCK_MONOTONIC", "CLOCK_BOOTTIME")
TELL = f"import time; print(*(time.clock_gettime(getattr(time, name)) for name in {CLOCKS!r}))"


def why_impossible() -> str | None:
    return None if LIBRARY else "wall clocks need libfaketime (Debian: apt-get install faketime)"


def jump(host: Host, seconds: int) -> None:
    """Put the wall clock of the host's processes so much ahead of the true one, at once."""
    new = host.clock.with_suffix(".new")
    new.write_text(f"{seconds:+d}")
    new.replace(host.clock)


def assert_off_by(host: Host, seconds: int) -> None:
    """In the host's processes the wall clock is off by that, and the clocks that only count are true."""
    command = [*PYTHON[:1], "-c", TELL]
    before = [time.clock_gettime(getattr(time, name)) for name in CLOCKS]
    shown = subprocess.run(command, env=host.environment, check=True, capture_output=True, text=True).stdout
    after = [time.clock_gettime(getattr(time, name)) for name in CLOCKS]
    for name, earlier, there, later in zip(CLOCKS, before, map(float, shown.split()), after, strict=True):
        off = seconds if name == "CLOCK_REALTIME" else 0
        assert earlier <= there - off <= later + 0.001, f"{name} is off by {there - earlier:.3f} s"
