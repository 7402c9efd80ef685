"""The exception for a lost connection. Must not know a client, nor what was under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_hacache.system.safe_path import Unfit

if TYPE_CHECKING:
    from collections.abc import Callable

# The system's errors where nobody listens on a Unix socket.
NOBODY = (ConnectionRefusedError, FileNotFoundError)


class Lost(Exception):
    """The connection cannot be used any more, or the time is over; `__cause__` says why."""

    __cause__: Exception


def lost(reason: Exception | str) -> Lost:
    """Return a Lost with this cause, to be raised or handed on where no exception is being handled."""
    error = Lost()
    error.__cause__ = ConnectionResetError(reason) if isinstance(reason, str) else reason
    return error


def in_vain(error: Exception, gone: Callable[[], bool]) -> bool:
    """Whether to connect again would be in vain: no node is to be expected, or what listens is not this user's."""
    return isinstance(error, Unfit) or (isinstance(error, NOBODY) and gone())
