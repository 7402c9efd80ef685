"""All rules of the configuration: find_problems() is what `manage.py check` shows.

Here are the rules that need the cluster and the aliases together. Those of the cluster alone are in cluster_rules.py,
those of tokens in tokens.py, of one alias and of aliases that share a cache in options.py, of keys in signing_keys.py.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

from django_hacache.conf.cluster import read_cluster
from django_hacache.conf.location import default_location, project_directory
from django_hacache.conf.options import check_large_values, read_aliases
from django_hacache.conf.problems import Findings, Id, Problem
from django_hacache.system.directory import flaw_of, owner_of
from django_hacache.system.platform import file_system_of, refusal
from django_hacache.system.safe_path import real

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from django_hacache.conf.config import CacheOptions, ClusterConfig

MEMORY = ("tmpfs", "ramfs")
# Django itself writes to a cache with these while it makes a page, and does not expect the write to raise.
CACHED_SESSIONS = "django.contrib.sessions.backends.cached_db"
CACHED_PAGES = "django.middleware.cache.UpdateCacheMiddleware"
MAX_CACHES = 64  # what a replica holds, see replica/layout.py


def find_problems() -> list[Problem]:
    """Return every problem of settings.HACACHE, the environment, CACHES and the TLS files; raises none of them."""
    findings = Findings()
    config = read_cluster(findings, with_files=True)
    aliases = read_aliases(findings)
    if refusal() is None:
        _check_together(config, aliases.values(), findings)
        if config.ha_mode:
            _check_pages(aliases, findings)
    return findings.problems


def _is_fit(location: Path, findings: Findings) -> bool:
    """Whether a replica can live there. The user who runs the check may be another than the one who runs the site."""
    flaw = flaw_of(location)
    if flaw:
        findings.add(
            Id.UNFIT_LOCATION,
            f"The location {location} cannot be used: {flaw}.",
            "Name a directory of the cache's own, such as '/run/mysite'; it is made where there is none.",
        )
        return False
    owner = owner_of(location)
    if owner not in (None, os.geteuid()):
        findings.add(
            Id.ANOTHER_USERS,
            f"The location {location} belongs to user {owner}, and this process runs as user {os.geteuid()}: expected "
            "the same, since only its owner can use the cache.",
            "Run what uses the cache as one user, or give this one another LOCATION.",
        )
    return True


def _check_together(config: ClusterConfig, aliases: Iterable[CacheOptions], findings: Findings) -> None:
    aliases = list(aliases)
    locations = sorted({str(options.location) for options in aliases})
    for location in locations:
        count = len({options.name for options in aliases if str(options.location) == location})
        if count > MAX_CACHES:
            findings.add(
                Id.TOO_MANY_ALIASES,
                f"CACHES has {count} caches with the location {location}: expected {MAX_CACHES} at most.",
                "Give some of them another LOCATION, or one CACHE_NAME and KEY_PREFIX.",
            )
        _check_signing(location, aliases, findings)
    if config.ha_mode and not locations:
        findings.add(
            Id.NO_ALIAS,
            "HA_MODE is true, but no alias in CACHES uses the backend django_hacache.cache.HACache.",
            "Use the backend in CACHES, or set HA_MODE to false.",
        )
    if config.ha_mode and len(locations) > 1:
        findings.add(
            Id.SEVERAL_LOCATIONS,
            f"CACHES names several locations ({', '.join(locations)}): one node serves one of them.",
            "Give all aliases the same LOCATION; clear() empties its own alias only.",
        )
    if config.ha_mode:
        check_large_values(aliases, findings)
    for location in locations:
        if not _is_fit(Path(location), findings):
            continue
        kind = file_system_of(Path(real(location)))
        if kind is not None and kind not in MEMORY:
            findings.add(
                Id.ON_DISK,
                f"The location {location} is on a file system of type {kind!r}: expected one in memory (tmpfs), since "
                "every write keeps a disk busy.",
                "Use a directory in /run or /dev/shm, or mount a tmpfs there.",
            )
    if str(default_location()) in locations and project_directory() is None:
        findings.add(
            Id.UNKNOWN_PROJECT,
            f"CACHES uses the default location {default_location()}, and there is neither settings.BASE_DIR "
            "nor a settings module: every such project of this user shares it.",
            "Set BASE_DIR or LOCATION.",
        )


def _check_pages(aliases: Mapping[str, CacheOptions], findings: Findings) -> None:
    writers = []
    if settings.SESSION_ENGINE == CACHED_SESSIONS:
        writers.append((f"SESSION_ENGINE is {CACHED_SESSIONS!r}", settings.SESSION_CACHE_ALIAS))
    if CACHED_PAGES in settings.MIDDLEWARE:
        writers.append((f"MIDDLEWARE has {CACHED_PAGES!r}", settings.CACHE_MIDDLEWARE_ALIAS))
    for who, alias in writers:
        options = aliases.get(alias)
        if options is not None and not options.ignore_exceptions:
            findings.add(
                Id.PAGES_RAISE,
                f"{who}, and the writes of its cache, the alias {alias!r}, raise where the cluster cannot answer: "
                "every page is an error then.",
                "Set IGNORE_EXCEPTIONS in its OPTIONS. Code that has to know takes another alias with its CACHE_NAME.",
            )


def _check_signing(location: str, aliases: Iterable[CacheOptions], findings: Findings) -> None:
    """Report a location with signed and unsigned caches: who can write to it attacks by way of an unsigned one."""
    caches = {options.name: options for options in aliases if str(options.location) == location}
    unsigned = sorted(repr(name) for name, options in caches.items() if not options.signing_keys)
    if unsigned and len(unsigned) < len(caches):
        findings.add(
            Id.PARTLY_SIGNED,
            f"Caches at {location} have SIGNING_KEYS, and {', '.join(unsigned)} has none: expected them in all, since "
            "who can write there without a key runs code in the workers that read it.",
            'Set OPTIONS["SIGNING_KEYS"] for every cache of this LOCATION.',
        )
