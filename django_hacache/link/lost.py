"""A connection that is of no use any more. Knows neither kind of client, nor what was under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_hacache.system.safe_path import Unfit

if TYPE_CHECKING:
    from collections.abc import Callable

# What the system says where nobody listens on a Unix socket.
NOBODY = (ConnectionRefusedError, FileNotFoundError)


class Lost(Exception):
    """The connection is of no use any more, or the time was over; the cause says why."""

    __cause__: Exception


def lost(reason: Exception | str) -> Lost:
    """What to raise, or to hand on, where no exception is being handled."""
    error = Lost()
    error.__cause__ = ConnectionResetError(reason) if isinstance(reason, str) else reason
    return error


def in_vain(error: Exception, gone: Callable[[], bool]) -> bool:
    """Whether to connect again would be: nobody is to be expected until the deadline, or it is none of ours."""
    return isinstance(error, Unfit) or (isinstance(error, NOBODY) and gone())
