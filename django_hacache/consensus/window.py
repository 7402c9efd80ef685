"""How much may be on its way to a peer: as much as need not wait in a queue of the network, where it is in the way.

Knows only how many bytes were acknowledged after how long.
"""

from __future__ import annotations

# More than this in a queue before a part is of no use to it, and in the way of the log.
QUEUEING_MS = 200


class Window:
    """How many bytes may be on their way: as many as need not wait for each other.

    What is sent beyond that waits in a queue of the network, and others with it. So it grows while acknowledgements
    come as soon as ever, and shrinks where they take longer by more than `queueing_ms` milliseconds.
    """

    def __init__(self, least: int, most: int, queueing_ms: int = QUEUEING_MS) -> None:
        self._least, self._most = least, most
        self._queueing_ms = queueing_ms
        self.begin_anew()

    def begin_anew(self) -> None:
        """Whatever is known was of another connection."""
        self.size = self._least
        self._soonest_ms: int | None = None

    def acknowledged(self, size: int, after_ms: int) -> None:
        """`size` bytes were acknowledged `after_ms` after they were sent."""
        self._soonest_ms = after_ms if self._soonest_ms is None else min(self._soonest_ms, after_ms)
        if after_ms - self._soonest_ms <= self._queueing_ms:
            self.size = min(self.size + size, self._most)
        else:
            self.shrink()

    def shrink(self) -> None:
        """So much was too much."""
        self.size = max(self.size // 2, self._least)
