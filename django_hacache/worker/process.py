"""What a process keeps for all its threads and cache objects: its sites, and the setups of its aliases.

The one module with mutable state, and so the one that has a forked child begin anew. Must not know settings, nor what a
site has open: see sites.py.
"""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING, Any, TypeVar, cast

from django_hacache.system.forks import ForkWatch
from django_hacache.system.safe_path import real

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django_hacache.worker.sites import Site

    S = TypeVar("S", bound=Site[Any])

T = TypeVar("T")

_sites: dict[tuple[type[Site[Any]], str], Site[Any]] = {}
_remembered: dict[str, object] = {}


def site_of(kind: type[S], directory: Path, map_size: int) -> S:
    """Return the one site of this kind that this process has for a LOCATION.

    map_size: of the replica's map (bytes). Only the first call for a LOCATION decides it.
    """
    # LMDB must not open a file twice in one process, so all names of a directory mean one site. The last step of the
    # path is not resolved: a site follows its path step by step, and refuses a link there.
    name = f"{real(directory.parent)}/{directory.name}"
    site = _sites.get((kind, name))
    if site is None:
        _release_abandoned()
        site = _sites.setdefault((kind, name), kind(directory, map_size, _forks))
    site.is_outdated = False
    return cast("S", site)


def _release_abandoned() -> None:
    """Close what was opened under former settings or in directories that are gone, such as one for each test."""
    _forks.notice()
    for site in list(_sites.values()):
        if site.is_abandoned:
            site.release()


def remembered(described: str, make: Callable[[], T]) -> T:
    """Return what `make` returned when this description was first asked for.

    Django makes a new cache object for each thread and each request of an event loop; reading and validating its
    settings takes a hundred times as long as a read.
    """
    if described not in _remembered:
        _remembered[described] = make()
    return cast("T", _remembered[described])


def forget() -> None:
    """Make the next use read the settings again. For tests: the settings of a running site do not change."""
    _remembered.clear()
    for site in list(_sites.values()):
        site.is_outdated = True


def close() -> None:
    """Close everything; what is needed again is opened again. For tests and commands that end."""
    forget()
    for site in list(_sites.values()):
        site.close()


def _begin_anew() -> None:
    for site in list(_sites.values()):
        site.leave_inherited()


_forks = ForkWatch(_begin_anew)


@atexit.register
def _finish() -> None:
    if _forks.mark[0]:
        for site in list(_sites.values()):
            site.finish()
