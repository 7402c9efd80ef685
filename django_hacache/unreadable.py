"""Stored bytes that are no value: a miss for whoever reads them, and a line in the log for each kind.

They are those of a program outside the site, of a class that this release does not have, or damaged. What decoding
raises is not known beforehand, and a signal handler may raise anything in its midst: what is raised again when it is
tried again is the value's, what is not is the caller's. Knows no replica.
"""

from __future__ import annotations

import logging

from django_hacache.serializers import decode

logger = logging.getLogger("django_hacache.cache")

KINDS_MAX = 100
SHOWN_CHARACTERS = 200

# What was said in this process. A set of strings: a forked child may go on with it.
_said: set[str] = set()


def is_unreadable(cache: str, key: str, data: bytes | memoryview, error: Exception) -> bool:
    """Return whether decoding `data` raised `error` because of what it holds; if so, say it once for each kind."""
    try:
        decode(data)
    except type(error):
        _say(cache, key, error)
        return True
    return False


def _say(cache: str, key: str, error: Exception) -> None:
    reason = f"{type(error).__name__}: {str(error)[:SHOWN_CHARACTERS]}"
    kind = f"{cache}\0{reason}"
    new = kind not in _said and len(_said) < KINDS_MAX
    if new:
        _said.add(kind)
    logger.log(
        logging.WARNING if new else logging.DEBUG,
        "What the cache %r holds under %r is no value, and so a miss: %s (said once for each kind)",
        cache,
        key[:SHOWN_CHARACTERS],
        ascii(reason)[1:-1],
    )
