"""What py-lmdb counts as open in this process: LMDB must not open a file twice in one, and py-lmdb refuses to.

It counts a file a moment longer than somebody uses it. Knows no replica.
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
    """Open a file, where need be when another thread has closed it: what one drops is not closed in the same instant.

    Each try locks anew: the locks of a process end with whatever it closes of a file, and so with what is dropped.
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
