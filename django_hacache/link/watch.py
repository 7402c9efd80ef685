"""Finds out whether the node hangs while a client waits for its answer: its process is there, and nothing moves in it.

The node notes ten times a second that its event loop turns. An old note proves little: on a machine that was suspended,
or is too busy, everything is late. So the client also counts how often it has looked in vain. Before each look it
slept, and the kernel woke it, as it has to wake the node: where this process runs again and again and the node not
once, the machine is not what is busy. A node with little processor time still runs, and is only slow; one that has had
a second of it and notes nothing is in an endless loop. Must not know the control page, nor how a client waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_hacache.system.platform import boottime_ns

if TYPE_CHECKING:
    from collections.abc import Callable

# How long to wait between two looks, and how many in a row must find the same.
LOOK_S = 0.1
LOOKS = 5
# How old the note must be: as old as a read lease, without which this host's reads are misses. So long may a node have
# a processor for one turn of its loop.
SILENCE_NS = 1_000_000_000


class Hung(ConnectionError):
    """The node shows no sign of life."""

    def __init__(self) -> None:
        super().__init__("It has shown no sign of life for a second: it hangs.")


class Watch:
    """Watches the node for one connection."""

    __slots__ = ("_alive_at", "_looks", "_moved_at", "_ran", "_ran_before", "_ran_then", "_seen")

    def __init__(self, alive_at: Callable[[], int], ran: Callable[[], int]) -> None:
        """Take what tells of the node's event loop.

        alive_at: when it turned last (boot time, ns); 0 where that is not known.
        ran: for how long its thread has had a processor (ns); always the same where that is not known.
        """
        self._alive_at = alive_at
        self._ran = ran
        self._seen = self._moved_at = 0
        # What `ran` said at the first look that found this note, and at the latest look.
        self._ran_then = self._ran_before = 0
        self._looks = 0

    def hung(self) -> bool:
        """Look once more, and return whether the node hangs. To be called after each LOOK_S without an answer."""
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
