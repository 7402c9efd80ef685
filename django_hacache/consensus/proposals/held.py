"""What waits at the leader until there is room for it: in lines, of which one that lacks room holds no other one up.

Where the room lacks that all of them share, all wait, and have their turns as it comes. Within a line the order stays
what it was. Knows neither what a line stands for nor what room is.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Any

from django_hacache.consensus.proposals.proposal import Key, Proposal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Lack(Enum):
    """Which room there is none of."""

    OWN = "own"  # that of its line
    SHARED = "shared"  # that of all lines


class Held:
    """The lines. One that is empty is none.

    Args:
        lack_of: what a change lacks to be ordered now; None: nothing.
        line_of: the line in which a command waits.
    """

    def __init__(self, lack_of: Callable[[Proposal], Lack | None], line_of: Callable[[Any], str]) -> None:
        self._lack_of = lack_of
        self._line_of = line_of
        self._lines: dict[str, dict[Key, Proposal]] = {}
        # When last looked at, one waited for what all of them share: whoever comes next must not overtake it.
        self._all_wait = False

    def __bool__(self) -> bool:
        return bool(self._lines)

    def takes(self, proposal: Proposal) -> bool:
        """Keep it where it has to wait; False where it may be ordered at once."""
        line = self._lines.get(self._line_of(proposal.command)) if self._lines else None
        if line is None:
            lack = Lack.SHARED if self._all_wait else self._lack_of(proposal)
            if lack is None:
                return False
            self._all_wait = lack is Lack.SHARED
            line = self._lines[self._line_of(proposal.command)] = {}
        line[proposal.key] = proposal
        return True

    def may_go(self) -> bool:
        """Whether one of them may be ordered now."""
        for line in self._lines.values():
            lack = self._lack_of(next(iter(line.values())))
            if lack is not Lack.OWN:
                return lack is None
        return False

    def released(self) -> Iterator[Proposal]:
        """Those that may be ordered now, from each line in turn. Each is to be, before the next is asked for."""
        turns = deque(self._lines)
        while turns:
            name = turns.popleft()
            first = next(iter(self._lines[name].values()))
            lack = self._lack_of(first)
            if lack is Lack.SHARED:
                self._all_wait = True
                return
            if lack is None:
                line = self._lines.pop(name)
                del line[first.key]
                if line:
                    self._lines[name] = line  # as the last one
                    turns.append(name)
                yield first
        self._all_wait = False

    def drop(self, proposal: Proposal) -> None:
        """It waits no longer."""
        name = self._line_of(proposal.command)
        line = self._lines.get(name, {})
        if line.get(proposal.key) is proposal:
            del line[proposal.key]
            if not line:
                del self._lines[name]
        self._all_wait = self._all_wait and bool(self._lines)

    def clear(self) -> None:
        """None waits any longer."""
        self._lines.clear()
        self._all_wait = False
