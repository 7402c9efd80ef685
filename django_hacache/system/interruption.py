"""Tells what a call of this package says from what comes into it from outside. Knows nothing of either.

A signal handler runs in the middle of whatever its thread does, and may raise anything there: the OSError of a time
limit arrives where the OSError of a file is expected, and an error of this package where the handler uses a cache
itself. Whoever catches such a kind of error asks here first. Where an object is dropped nobody catches anything: what
has to be closed then is closed by C, without a step of Python in which a handler could run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_hacache.exceptions import HACacheError

if TYPE_CHECKING:
    from types import FrameType

# Who stands between this package and the system.
_PACKAGES = frozenset(
    {"django_hacache", "os", "posixpath", "pathlib", "contextlib", "asyncio", "uvloop", "lmdb", "google"}
)
_MODULES = frozenset({"eventlet.green.os"})


def ensure_own(error: Exception) -> None:
    """Called where `error` was caught: raise it again where it is the caller's, as a signal handler raises it."""
    if is_callers(error):
        raise error


def is_callers(error: Exception) -> bool:
    """Whether `error`, just caught, came into this package from outside.

    The way of an error of ours ends in the call that failed. That of the caller's goes on into their code, or was put
    into this thread by another one, and then says nothing of any call.
    """
    if isinstance(error, OSError) and error.errno is None and not isinstance(error, HACacheError):
        return True
    trace = error.__traceback__
    while trace is not None:
        if not _is_ours(trace.tb_frame):
            return True
        trace = trace.tb_next
    return False


def _is_ours(frame: FrameType) -> bool:
    module = frame.f_globals.get("__name__", "")
    return module.partition(".")[0] in _PACKAGES or module in _MODULES
