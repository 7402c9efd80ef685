"""Which alias of settings.CACHES a cache object stands for: Django does not tell its backends.

The alias is the cache's name on the wire and in the replica, so it has to be right. Django builds a backend
from CACHES[alias] without BACKEND and LOCATION; an entry with the same content is the one. Two aliases may
be configured alike word for word, or a subclass may change what it is given. They are still two caches, and
Django tells them apart by one thing only: `caches[alias]` is the object itself. That holds once Django has
finished building it, hence not in __init__, and in the thread that got it from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.cache import DEFAULT_CACHE_ALIAS, caches
from django.utils.module_loading import import_string

from django_hacache.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.core.cache.backends.base import BaseCache


def candidates(backend: type[BaseCache], location: object, params: Mapping[str, Any]) -> list[str]:
    """Return the aliases of settings.CACHES that a cache of this class, LOCATION and parameters may stand for.

    A subclass may change the parameters on their way here: then its class and LOCATION tell. A cache that was
    built by hand, which no alias describes, is "default" of its LOCATION.
    """
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
        "none of them: it was built by hand, or passed to another thread before its first use. Let their LOCATION or "
        "KEY_PREFIX differ, or get the cache from django.core.cache.caches where it is used."
    )
