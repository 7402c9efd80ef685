"""Reads the settings of the cache aliases: OPTIONS and LOCATION, and which aliases share a cache or a node.

Must not know the cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils.module_loading import import_string

from django_hacache.conf.config import LIMITS, AckLevel, CacheOptions, limits_of
from django_hacache.conf.location import default_location, parse_location
from django_hacache.conf.parsers import boolean, seconds, size_in_bytes, whole_number
from django_hacache.conf.problems import Findings, Id
from django_hacache.conf.redaction import is_dotted, shown, shown_name
from django_hacache.conf.signing_keys import OPTION as SIGNING_KEYS
from django_hacache.conf.signing_keys import check_strength, signing_keys
from django_hacache.conf.sources import Origin, Source, did_you_mean
from django_hacache.system.platform import refusal
from django_hacache.system.safe_path import real

if TYPE_CHECKING:
    import os
    from pathlib import Path

BACKEND = "django_hacache.cache.HACache"
MIB = 1024 * 1024
LARGEST_SIZE = 1 << 46
# Standalone: a process holds several copies of a value while it writes or reads it.
LARGEST_VALUE = 128 * MIB
# In a cluster a node takes a value in one piece and does nothing else meanwhile: some ten milliseconds for this one.
LARGEST_CLUSTER_VALUE = 8 * MIB
NAME_BYTES_ADVISED = 64
NAME_BYTES_MAX = 255
# What BaseCache reads beside OPTIONS; it takes the lower-case names too.
DJANGO_KEYS = ("TIMEOUT", "KEY_PREFIX", "VERSION", "KEY_FUNCTION", "OPTIONS")
DJANGO_LOWER_KEYS = ("timeout", "max_entries", "cull_frequency")


def cache_options(name: str, location: str | os.PathLike[str], params: Mapping[str, Any]) -> CacheOptions:
    """Return the validated options of the alias `name`.

    location, params: what Django hands to a backend: LOCATION ("" for the default), and the rest of CACHES[name].
    Raises ConfigurationError with a line for every unknown or wrong option.
    """
    findings = Findings()
    _check_system(findings)
    findings.raise_errors()  # on a wrong operating system no other problem matters
    options = read_options(name, location, params, findings)
    findings.raise_errors()
    return options


def _check_system(findings: Findings) -> bool:
    refused = refusal()
    if refused is not None:
        findings.add(Id.SYSTEM, refused, "Use another BACKEND here.")
    return refused is None


def node_caches(location: Path) -> dict[str, CacheOptions]:
    """Return every cache whose LOCATION is `location`, by name. Raises ConfigurationError."""
    findings = Findings()
    wanted = real(location)
    found = {
        options.name: options
        for options in read_aliases(findings).values()
        if real(options.location) == wanted
    }
    findings.raise_errors()
    return found


def ensure_fit_for_cluster(caches: Iterable[CacheOptions]) -> None:
    """Raise ConfigurationError where one of the caches takes values that are too large for a cluster."""
    findings = Findings()
    check_large_values(caches, findings)
    findings.raise_errors()


def check_large_values(caches: Iterable[CacheOptions], findings: Findings) -> None:
    """Report the caches that take values too large for a cluster."""
    for name, options in {options.name: options for options in caches}.items():
        if options.max_value_bytes > LARGEST_CLUSTER_VALUE:
            findings.add(
                Id.LARGE_VALUES,
                f"The cache {name!r} takes values of {options.max_value_bytes} bytes (MAX_VALUE_SIZE): expected "
                f"{LARGEST_CLUSTER_VALUE} at most in a cluster, where every node takes a value in one piece and does "
                "nothing else meanwhile.",
                f"Set MAX_VALUE_SIZE to {LARGEST_CLUSTER_VALUE} or less, or leave it out.",
            )


def read_aliases(findings: Findings) -> dict[str, CacheOptions]:
    """Return the options of every alias of this backend, by alias; the problems go to `findings`."""
    entries = list(_own_entries(findings))
    if entries and not _check_system(findings):
        return {}
    aliases = {
        alias: read_options(alias, entry.get("LOCATION", ""), _params(entry), findings)
        for alias, entry in entries
    }
    _check_limits(aliases, findings)
    return aliases


def _check_limits(aliases: Mapping[str, CacheOptions], findings: Findings) -> None:
    """Report aliases of one cache that contradict each other about a limit; each may leave it out."""
    first: dict[tuple[str, str], str] = {}
    for alias, options in aliases.items():
        other = first.setdefault((real(options.location), options.name), alias)
        if options.signing_keys != aliases[other].signing_keys:
            findings.add(
                Id.CONTRADICTING_LIMITS,
                f'CACHES["{other}"] and CACHES["{alias}"] are the same cache {options.name!r}, and {SIGNING_KEYS} '
                "(not shown) differ: what one stores is nothing to the other. Expected one value.",
                f"Say {SIGNING_KEYS} in one of them, or give one of them another CACHE_NAME.",
            )
        mine, theirs = limits_of(options), limits_of(aliases[other])
        for limit in LIMITS:
            if mine[limit] != theirs[limit]:
                findings.add(
                    Id.CONTRADICTING_LIMITS,
                    f'CACHES["{other}"] and CACHES["{alias}"] are the same cache {options.name!r}, and {limit} is '
                    f"{theirs[limit]} in one and {mine[limit]} in the other: expected one value.",
                    f"Say {limit} in one of them, or give one of them another CACHE_NAME.",
                )


def _params(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in ("BACKEND", "LOCATION")}


def _own_entries(findings: Findings) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, entry in settings.CACHES.items():
        backend = entry.get("BACKEND")
        try:
            ours = backend is not None and _is_ours(backend)
        except ImportError as error:
            findings.add(
                Id.BACKEND_IMPORT,
                f'CACHES["{name}"]["BACKEND"] is {_shown_backend(backend, error)}.',
                "Correct the path, or install what it needs.",
            )
            continue
        if ours:
            yield name, entry


def _shown_backend(backend: object, error: ImportError) -> str:
    if is_dotted(backend):
        return f"{backend!r}: expected a class to import, but: {error}"
    return f"{shown(backend)}: expected the dotted path of a class to import"


def _is_ours(backend: str) -> bool:
    if backend == BACKEND:
        return True
    # Do not import Django's own backends to see that: some of them import a client library.
    if backend.startswith("django.core.cache.backends."):
        return False
    found = import_string(backend)
    return isinstance(found, type) and issubclass(found, import_string(BACKEND))


def read_options(alias: str, location: object, params: Mapping[str, Any], findings: Findings) -> CacheOptions:
    """Return the options of an alias with a default for each wrong one; the problems go to `findings`."""
    entry = f'CACHES["{alias}"]'
    options = _options(entry, params, findings)
    places = _places(entry, params, options)
    source = Source(findings, places, Id.INVALID_OPTION)
    name = source.read("CACHE_NAME", _cache_name, default=alias)
    directory = _location(entry, location, findings)
    limits = Source(findings, [*places, *_others(alias, name, directory)], Id.INVALID_OPTION)
    size_limit = limits.read("SIZE_LIMIT", size_in_bytes(64 * 1024, LARGEST_SIZE), default=256 * MIB)
    keys = limits.read("SIGNING_KEYS", signing_keys, default=(), is_secret=True, may_be_empty=False)
    check_strength(keys, limits, findings)
    max_value = limits.read("MAX_VALUE_SIZE", size_in_bytes(1, LARGEST_VALUE), default=LARGEST_CLUSTER_VALUE)
    result = CacheOptions(
        name=name,
        location=directory,
        ack_level=source.read("ACK_LEVEL", _ack_level, default=AckLevel.QUORUM),
        fill_ack_level=source.read("FILL_ACK_LEVEL", _ack_level, default=AckLevel.DIRECT),
        write_timeout_s=source.read("WRITE_TIMEOUT", seconds(0.001, 3600), default=5.0),
        ignore_exceptions=source.read("IGNORE_EXCEPTIONS", boolean, default=False),
        log_ignored_exceptions=source.read("LOG_IGNORED_EXCEPTIONS", boolean, default=True),
        size_limit=size_limit,
        max_entries=limits.read("MAX_ENTRIES", whole_number(1, LARGEST_SIZE), default=None),
        cull_frequency=limits.read("CULL_FREQUENCY", whole_number(0, LARGEST_SIZE), default=3),
        max_value_bytes=min(max_value, size_limit),
        signing_keys=tuple(key.value for key in keys),
    )
    _check_keys(entry, params, options, source.names + limits.names, findings)
    _check_timeout(entry, params, findings)
    _check_name(alias, name, findings)
    return result


def _places(entry: str, params: Mapping[str, Any], options: Mapping[str, Any]) -> list[Origin]:
    lower = {key.upper(): params[key] for key in DJANGO_LOWER_KEYS if key in params}
    return [Origin(entry, lower), Origin(f'{entry}["OPTIONS"]', options)]


def _others(alias: str, name: str, location: Path) -> Iterator[Origin]:
    """Yield where the other aliases of the same cache set its limits."""
    quiet = Findings()  # read_options reports their problems when it reads them
    for other, entry in _own_entries(quiet):
        label = f'CACHES["{other}"]'
        params = _params(entry)
        options = _options(label, params, quiet)
        places = _places(label, params, options)
        if (
            other != alias
            and Source(quiet, places, Id.INVALID_OPTION).read("CACHE_NAME", _cache_name, default=other)
            == name
            and real(_location(label, entry.get("LOCATION", ""), quiet)) == real(location)
        ):
            yield from places


def _cache_name(raw: object) -> str:
    if not isinstance(raw, str) or not _is_name(raw):
        raise ValueError(f"a text of 1 to {NAME_BYTES_MAX} bytes, printable characters all")
    return raw


def _is_name(text: str) -> bool:
    """Whether a request and a replica can carry it."""
    return 0 < len(text.encode()) <= NAME_BYTES_MAX and text.isprintable()


def _options(entry: str, params: Mapping[str, Any], findings: Findings) -> Mapping[str, Any]:
    options = params.get("OPTIONS", {})
    if isinstance(options, Mapping):
        return options
    findings.add(
        Id.INVALID_OPTION, f'{entry}["OPTIONS"] is {shown(options)}: expected a dict.', "Write it as a dict."
    )
    return {}


def _location(entry: str, location: object, findings: Findings) -> Path:
    try:
        return parse_location(location)
    except ValueError as expected:
        findings.add(
            Id.INVALID_LOCATION,
            f'LOCATION is {shown(location)}, from {entry}["LOCATION"]: expected {expected}.',
            "Name a directory with a short, absolute path.",
        )
        return default_location()


def _ack_level(raw: object) -> AckLevel:
    try:
        return AckLevel(raw)
    except ValueError:
        raise ValueError(AckLevel.names()) from None


def _check_keys(
    entry: str, params: Mapping[str, Any], options: Mapping[str, Any], known: list[str], findings: Findings
) -> None:
    for key in options:
        if key not in known:
            findings.add(
                Id.UNKNOWN_OPTION,
                f'{entry}["OPTIONS"] has the unknown option {shown_name(key)}. {did_you_mean(key, known)}',
                "Correct or remove the option.",
            )
    for key in params:
        if key in known:
            findings.add(
                Id.UNKNOWN_OPTION,
                f'{entry} has {shown_name(key)}: expected it in {entry}["OPTIONS"].',
                "Move it there.",
            )
        elif key not in DJANGO_KEYS and key not in DJANGO_LOWER_KEYS:
            question = did_you_mean(key, (*DJANGO_KEYS, "BACKEND", "LOCATION"))
            findings.add(
                Id.UNKNOWN_OPTION,
                f"{entry} has the unknown key {shown_name(key)}. {question}",
                "Correct or remove the key.",
            )


def _check_timeout(entry: str, params: Mapping[str, Any], findings: Findings) -> None:
    # For a TIMEOUT that is no number Django silently takes 300 seconds.
    timeout = params.get("timeout", params.get("TIMEOUT"))
    try:
        if timeout is not None:
            int(timeout)
    except (ValueError, TypeError, OverflowError):
        findings.add(
            Id.INVALID_OPTION,
            f"TIMEOUT is {shown(timeout)}, from {entry}: expected seconds, a whole number, or None for no expiry.",
            "Correct TIMEOUT.",
        )


def _check_name(alias: str, name: str, findings: Findings) -> None:
    size = len(name.encode())
    called = f"the alias {alias!r}" if name == alias else f"the CACHE_NAME {name!r}"
    if not _is_name(name):
        findings.add(
            Id.INVALID_OPTION,
            f"CACHES has {called} with {size} bytes: expected 1 to {NAME_BYTES_MAX}, printable characters all.",
            "Choose another one, or a CACHE_NAME.",
        )
    elif size > NAME_BYTES_ADVISED:
        findings.add(
            Id.LONG_ALIAS,
            f"CACHES has {called} with {size} bytes: {NAME_BYTES_ADVISED} or fewer are better, "
            "since every request carries it.",
            "Choose a shorter one, or a CACHE_NAME.",
        )
