"""Tells an error that a call of this package raised from one that a signal handler or another thread put into it.

A signal handler runs in the middle of whatever its thread does, and may raise anything there: the OSError of a time
limit arrives where the package expects the OSError of a file, and an error of this package where the handler uses a
cache itself. So whoever catches such an error calls ensure_own() first. In a destructor nobody could catch it: there C
closes what has to be closed, without a step of Python in which a handler could run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_hacache.exceptions import HACacheError

if TYPE_CHECKING:
    from types import FrameType

# The packages that stand between this one and the system.
_PACKAGES = frozenset(
    {"django_hacache", "os", "posixpath", "pathlib", "contextlib", "asyncio", "uvloop", "lmdb", "google"}
)
_MODULES = frozenset({"eventlet.green.os"})


def ensure_own(error: Exception) -> None:
    """Raise `error`, just caught, again where it came from outside this package."""
    if is_callers(error):
        raise error


def is_callers(error: Exception) -> bool:
    """Whether `error`, just caught, came into this package from outside.

    The traceback of an error of ours ends in the call that failed. That of a signal handler's error goes on into the
    handler's code, and an OSError that another thread put into this one has no errno.
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
