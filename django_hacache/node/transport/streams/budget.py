"""Bounds how fast the clients of one host are read: a flood must not take the time of peers, workers and others.

Knows no messages and no streams.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# A request costs a node some 300 µs: this is a third of its time.
REQUESTS_PER_S = 1000
# What is large counts as several. A leader sends what is stored to every peer: with two, this is a quarter of 1 Gbit/s.
REQUEST_BYTES = 16 << 10
# Who was quiet may catch up that much at once.
BURST_S = 1.0
# A pause is worth its timer.
PAUSE_S = 0.05
# Of so many hosts it is known what they have sent. Streams that are open keep theirs.
HOSTS_MAX = 1024


class Budget:
    """What one host may still send (a leaky bucket, as a virtual time up to which everything is paid for)."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._paid_until = now() - BURST_S

    def spend(self, size: int) -> float:
        """Note a request of that many bytes; returns how long to read nothing more, in seconds."""
        now = self._now()
        self._paid_until = max(self._paid_until, now - BURST_S) + 1 / REQUESTS_PER_S
        self.pay(size)
        ahead = self._paid_until - now
        return max(ahead, PAUSE_S) if ahead > 0 else 0.0

    def pay(self, size: int) -> None:
        """Note so many bytes, of a request or of its answer."""
        self._paid_until += size / REQUEST_BYTES / REQUESTS_PER_S


class Budgets:
    """One for each host, however many streams somebody there opens, at once or one after the other."""

    def __init__(self) -> None:
        self._of_host: OrderedDict[str, Budget] = OrderedDict()

    def of(self, host: str) -> Budget:
        budget = self._of_host.setdefault(host, Budget())
        self._of_host.move_to_end(host)
        if len(self._of_host) > HOSTS_MAX:
            self._of_host.popitem(last=False)
        return budget
