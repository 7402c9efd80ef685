"""Opens a file of LMDB although py-lmdb may still count it as open in this process.

LMDB must not open a file twice in one process, so py-lmdb refuses to; and it counts a file for a moment longer than
anybody uses it. Must not know a replica.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from django_hacache.exceptions import ConfigurationError
from django_hacache.system.interruption import ensure_own
from django_hacache.system.platform import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable

OPEN_ALREADY = "already open in this process"  # what py-lmdb says
CLOSING_WAIT_S, CLOSING_LOOK_S = 1.0, 0.001


class OpenAlready(ConfigurationError):
    """This process has the file open."""


def when_closed(open_it: Callable[[], None]) -> None:
    """Call `open_it`, again and again for a second while it raises OpenAlready.

    1. thread A drops the last reference to an environment; 2. thread B opens the file; 3. A's environment is closed.
    Each try has to lock anew: step 3 closes descriptors, and so drops the POSIX locks of this process.
    Raises ConfigurationError where the file stays open.
    """
    deadline = monotonic() + CLOSING_WAIT_S
    while True:
        try:
            open_it()
        except OpenAlready as error:
            ensure_own(error)
            if monotonic() >= deadline:
                raise ConfigurationError(*error.args) from error
        else:
            return
        time.sleep(CLOSING_LOOK_S)
