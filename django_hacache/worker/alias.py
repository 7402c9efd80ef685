"""Finds the alias of settings.CACHES that a cache object stands for: Django does not tell its backends.

The alias names the cache on the wire and in the replica, so it must be right. Two aliases may be configured alike word
for word, a subclass may change what it is given, and another thread may use the object than the one that Django made it
for. So the alias is taken from the call of Django that makes the object. A cache that was built by hand has none there:
it stands for an alias with the same configuration.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.cache import DEFAULT_CACHE_ALIAS, CacheHandler, caches
from django.utils.module_loading import import_string

from django_hacache.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.core.cache.backends.base import BaseCache


# A subclass may call a few of its own functions on the way to HACache.__init__.
FRAMES_MAX = 16
# Recognized by name and module, not by identity: tools put a function of their own around it.
MAKING, MAKING_IN = "create_connection", CacheHandler.__module__


def being_made() -> str | None:
    """Return the alias for which Django is making a cache in the calls that led here, None where it is not."""
    frame = sys._getframe(1)  # noqa: SLF001 - the only way to what Django does not pass on
    for _ in range(FRAMES_MAX):
        if (
            frame.f_code.co_name == MAKING
            and frame.f_globals.get("__name__") == MAKING_IN
            and frame.f_locals.get("self") is caches
        ):
            alias = frame.f_locals.get("alias")
            return alias if alias in settings.CACHES else None
        if frame.f_back is None:
            return None
        frame = frame.f_back
    return None


def candidates(backend: type[BaseCache], location: object, params: Mapping[str, Any]) -> list[str]:
    """Return the aliases of settings.CACHES that a cache of this class, LOCATION and parameters may stand for.

    It is the alias for which Django is making the cache; else those with the same LOCATION and parameters; else those
    with the same LOCATION and class, since a subclass may have changed the parameters; else "default".
    """
    making = being_made()
    if making is not None:
        return [making]
    there = {
        alias: entry for alias, entry in settings.CACHES.items() if entry.get("LOCATION", "") == location
    }
    alike = [
        alias
        for alias, entry in there.items()
        if {key: entry[key] for key in entry if key not in ("BACKEND", "LOCATION")} == params
        and import_string(entry["BACKEND"]) is backend
    ]
    return alike or _of_class(backend, there) or [DEFAULT_CACHE_ALIAS]


def _of_class(backend: type[BaseCache], entries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    classes = {alias: import_string(entry["BACKEND"]) for alias, entry in entries.items()}
    return [alias for alias, one in classes.items() if one is backend] or [
        alias
        for alias, one in classes.items()
        if isinstance(one, type) and (issubclass(one, backend) or issubclass(backend, one))
    ]


def alias_of(cache: BaseCache, aliases: Sequence[str]) -> str:
    """Return the one of `aliases`, its candidates, under which Django keeps this very object.

    Raises ConfigurationError where that cannot be told.
    """
    for alias in aliases:
        if caches[alias] is cache:
            return alias
    raise ConfigurationError(
        f"This cache object may be any of {', '.join(aliases)}, by its class and settings, and Django keeps it under "
        "none of them: it was built by hand. Get the cache from django.core.cache.caches, or let their LOCATION or "
        "KEY_PREFIX differ."
    )
