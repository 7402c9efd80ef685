"""Tests wait for conditions, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def eventually(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """Wait until `condition()` is true, and return what it was."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.005)
