"""Logs what goes wrong again and again once for each reason, and then every ten minutes, with a count.

A peer that is away, or a stranger that knocks all night, must not bury what else the log has to say.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django_hacache.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

AGAIN_S = 600.0
REASONS_MAX = 64
# Stands for every further reason while REASONS_MAX others were logged lately.
REST = ""


@dataclass(slots=True)
class _Said:
    at: float
    repeated: int = 0


class LogThrottle:
    """The messages of one room about its peers, or about strangers.

    Args:
        logger: where they go; repetitions go there, too, at level DEBUG.
        now: a clock in seconds.
    """

    def __init__(self, logger: logging.Logger, now: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._now = now
        self._said: OrderedDict[str, _Said] = OrderedDict()
        self._rest: OrderedDict[str, _Said] = OrderedDict()

    def say(self, reason: str, message: str, *, level: int = logging.WARNING) -> None:
        """Log `message`, unless it was said for the same `reason` less than ten minutes ago.

        A peer's reason names the peer; a stranger's names no stranger, for of those there is no end. Of more than
        REASONS_MAX within that time the rest counts as one.
        """
        # A part of it is what others call themselves, and they may be anybody.
        message = printable(message)
        now = self._now()
        known = self._said
        if reason not in known and self._is_full(now):
            reason, known = REST, self._rest
        said = known.get(reason)
        if said is not None and now - said.at < AGAIN_S:
            said.repeated += 1
            self._logger.debug("%s", message)
            return
        if said is not None and said.repeated:
            self._logger.log(level, "%s (%d times more since it was last said)", message, said.repeated)
        else:
            self._logger.log(level, "%s", message)
        known[reason] = _Said(now)
        known.move_to_end(reason)
        if len(known) > REASONS_MAX:
            known.popitem(last=False)

    def _is_full(self, now: float) -> bool:
        """Whether as many reasons as are known were said less than ten minutes ago, all of them."""
        return len(self._said) >= REASONS_MAX and now - next(iter(self._said.values())).at < AGAIN_S

    def settled(self) -> None:
        """Forget every reason: all is well, and what goes wrong from now on is new."""
        self._said.clear()
        self._rest.clear()
