"""Whether the node whose answer somebody waits for is hung: its process is there, and nothing moves in it.

The node notes ten times a second that its event loop turns. By itself a note that is old says little: on a machine that
was suspended, or is too busy, everything is late. So what counts beside the time is how often whoever waits has looked
in vain. Each look comes after a pause from which this process had to be woken, as the node has to be; where others run
again and again and the node not once, it is not the machine that is busy. A node that may have little of a processor
runs all the same, and is slow; one that has had it for long and notes nothing goes in circles. Knows neither the
control page nor how anybody waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_hacache.system.platform import boottime_ns

if TYPE_CHECKING:
    from collections.abc import Callable

# How long to wait between two looks (seconds), and how many in a row must find the same.
LOOK_S = 0.1
LOOKS = 5
# And how old that must be (ns): as long as a read lease, without which this host reads misses only. Whoever has had a
# processor for as long, for one turn of its loop, does not end it.
SILENCE_NS = 1_000_000_000


class Hung(ConnectionError):
    """The node shows no sign of life."""

    def __init__(self) -> None:
        super().__init__("It has shown no sign of life for a second: it hangs.")


class Watch:
    """Of one connection."""

    __slots__ = ("_alive_at", "_looks", "_moved_at", "_ran", "_ran_before", "_ran_then", "_seen")

    def __init__(self, alive_at: Callable[[], int], ran: Callable[[], int]) -> None:
        """Take what says when the node's event loop turned last, in boot time (ns); 0 where that is not known.

        ran: how long the thread of that loop has had a processor (ns); always the same where that is not known.
        """
        self._alive_at = alive_at
        self._ran = ran
        self._seen = self._moved_at = 0
        # With the first look that has found this note, and with the latest.
        self._ran_then = self._ran_before = 0
        self._looks = 0

    def hung(self) -> bool:
        """Look once more. To be called after each LOOK_S in which nothing came."""
        alive_at, ran = self._alive_at(), self._ran()
        if alive_at != self._seen or alive_at == 0:
            self._seen = self._moved_at = alive_at
            self._ran_then = self._ran_before = ran
            self._looks = 0
            return False
        if ran != self._ran_before:
            self._ran_before, self._moved_at = ran, boottime_ns()
            self._looks = 0
            return ran - self._ran_then >= SILENCE_NS
        self._looks += 1
        return self._looks >= LOOKS and boottime_ns() - self._moved_at >= SILENCE_NS
