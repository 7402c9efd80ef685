"""Measures the turns of the loop, and logs the long ones: during a turn no heartbeat leaves and nobody is answered.

Each room bounds what it does in a turn. A long turn shows a host that is too busy, memory that is swapped, or a bound
that is missing.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from django_hacache.node.log_throttle import LogThrottle

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_hacache.consensus.ready import Ready

logger = logging.getLogger("django_hacache.node")

NOTICED_S = 0.02
LONG_S = 0.2


class Turns:
    """A turn lasts from the first input that is taken to the end of what follows from all that came with it."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._throttle = LogThrottle(logger, now)
        self._began = now()
        self.longest_ms = 0

    def begin(self) -> None:
        self._began = self._now()

    def end(self, ready: Ready) -> None:
        took_s = self._now() - self._began
        if took_s >= NOTICED_S:
            self._tell(took_s, ready)

    def _tell(self, took_s: float, ready: Ready) -> None:
        took_ms = round(took_s * 1000)
        self.longest_ms = max(self.longest_ms, took_ms)
        stored, applied = sum(one.size for one in ready.entries), sum(one.size for one in ready.apply)
        told = (
            f"a turn of {took_ms} ms, in which nobody else was answered: {len(ready.entries)} changes of {stored} "
            f"bytes ordered or taken over, {len(ready.apply)} of {applied} bytes applied, {len(ready.messages)} "
            f"messages and {len(ready.completions)} answers sent"
        )
        if ready.compact_to is not None:
            told += ", the log cut"
        if took_s >= LONG_S:
            self._throttle.say("long", told)
        else:
            logger.debug("%s", told)
