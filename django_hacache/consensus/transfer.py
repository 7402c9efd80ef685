"""The leader's replica on its way to a follower that the log no longer reaches: what is sent next, what is taken.

Theory of operation. The follower begins with an empty replica and a log that begins at the index of that moment; from
then on it gets Appends as everybody does. Beside them come *parts*: each is a stretch of the leader's replica, in the
order of its keys, read in one short transaction at one applied index. The follower applies its log only to the
stretches that it has, and only up to the index of the latest part. So what it holds is always what the leader held:

    replica = the leader's at `reached`, up to `position`, once applied == reached

Parts are read at indexes that never go back, and a part may be ahead of the follower's log: effects are absolute, and
to apply those before its index once more ends at the same. After the last part and with applied == reached the replica
is whole. Nothing of that depends on who leads: a later leader goes on at the same position.

What is carried, and how, is not known here.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import NamedTuple

from django_hacache.consensus.hard_state import Installing
from django_hacache.consensus.window import Window

# A replica that waits for its next part keeps so many times as much of the log as it is to keep otherwise.
HELD_LOGS = 4
ASK_AGAIN_MS = 1000
LOOK_AGAIN_MS = 50
# A peer of which nothing comes for so long is asked anew how far it is.
SILENCE_MS = 30_000


class Part(NamedTuple):
    """What the leader's replica holds after `after` and up to `upto`, at `index`."""

    after: bytes
    upto: bytes
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs
    last: bool = False
    # With the last one: requests up to this index may be missing in the table of recent ones.
    floor: int = 0

    def follows(self, installing: Installing) -> bool:
        """Whether this is what a replica lacks next, and not from before what it holds."""
        return not installing.whole and self.after == installing.position and self.index >= installing.reached


class Next(Enum):
    """What the sender is to do."""

    ASK = "ask"  # how far the peer is
    READ = "read"  # the part after `position`, and send it
    WAIT = "wait"
    END = "end"


class Outgoing:
    """One transfer, as its sender sees it, from the first question to the peer's word that its replica is whole.

    Whatever breaks off is gone on with by another one: only the peer knows how far it is. `window` is in bytes: the
    least and the most that may be on their way.
    """

    def __init__(self, now_ms: int, *, window: tuple[int, int], silence_ms: int = SILENCE_MS) -> None:
        self.position: bytes | None = None
        self.complete = self.broken = False
        self._window = Window(*window)
        self._silence_ms = silence_ms
        self._number = 0
        self._on_way: deque[tuple[int, int, int]] = deque()
        self._bytes = 0
        self._heard_at_ms = now_ms
        self._ask_at_ms = now_ms
        self._all_sent = False

    def next(self, now_ms: int) -> Next:
        """What is to be done now; WAIT: for an acknowledgement, or for a little time to pass."""
        if self.complete or self.broken or now_ms - self._heard_at_ms >= self._silence_ms:
            return Next.END
        if self.position is None or (self._all_sent and not self._on_way):
            return Next.ASK if now_ms >= self._ask_at_ms else Next.WAIT
        return Next.READ if not self._all_sent and self.has_room() else Next.WAIT

    @property
    def window_bytes(self) -> int:
        """How many bytes may be on their way now."""
        return self._window.size

    def has_room(self) -> bool:
        """Whether more may be on its way."""
        return not self._on_way or self._bytes < self._window.size

    def asked(self, now_ms: int) -> int:
        """A question leaves; returns its number."""
        self._ask_at_ms = now_ms + (LOOK_AGAIN_MS if self._all_sent else ASK_AGAIN_MS)
        return self._numbered()

    def sent(self, size: int, now_ms: int) -> int:
        """So many bytes leave; returns their number."""
        number = self._numbered()
        self._on_way.append((number, size, now_ms))
        self._bytes += size
        return number

    def part_sent(self, part: Part) -> None:
        """All of a part has left."""
        self.position, self._all_sent = part.upto, part.last

    def _numbered(self) -> int:
        self._number += 1
        return self._number

    def acknowledged(self, number: int, installing: Installing | None, now_ms: int, *, refused: bool) -> None:
        """The peer has taken everything up to `number`, and says how far its replica is."""
        self._heard_at_ms = now_ms
        while self._on_way and self._on_way[0][0] <= number:
            _, size, sent_at_ms = self._on_way.popleft()
            self._bytes -= size
            self._window.acknowledged(size, now_ms - sent_at_ms)
        if refused:
            self.broken = True
        elif installing is None:
            self.complete = True
        elif self.position is None:
            self.position, self._all_sent = installing.position, installing.whole
        elif self._all_sent and not (self._on_way or installing.whole):
            self.broken = True  # it has begun anew since
