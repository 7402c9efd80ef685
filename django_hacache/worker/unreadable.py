"""Stored bytes that are no value: a miss for whoever reads them, and a line in the log for each kind.

They are those of a program outside the site, of a class that this release does not have, not signed, or damaged. What
decoding raises is not known beforehand, and a signal handler may raise anything in its midst: where it fails once more
when it is tried again, the value is at fault, else the caller has asked for the exception. Knows no replica.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django_hacache.system.platform import monotonic

if TYPE_CHECKING:
    from django_hacache.values.signing import Codec

logger = logging.getLogger("django_hacache.cache")

KINDS_MAX = 100
AGAIN_S = 3600.0
SHOWN_CHARACTERS = 200

# What another thread's import may cause that goes on at the same time.
PASSING = (ImportError, AttributeError)

# When each kind was said last in this process. Texts and numbers: a forked child may go on with it.
_said: dict[str, float] = {}


def second_look(
    codec: Codec, cache: str, key: str, data: bytes | memoryview, error: BaseException, default: Any
) -> Any:
    """Called while `error` is handled, which decoding `data` raised: try again.

    Return `default` where it fails again, and say why. Raises `error` where it is the caller's, be it any exception
    at all: those of time limits and of Rust's panics are none of Python's Exception.
    """
    if isinstance(error, KeyboardInterrupt):
        raise error
    try:
        value = codec.decode(key, data)
    except KeyboardInterrupt:
        raise
    except BaseException as other:
        if type(other) is not type(error) and _fails_with(type(error), codec, key, data):
            raise  # the value fails in one way, and a signal handler has come between
        say_unreadable(cache, key, error)
        return default
    if isinstance(error, PASSING):
        return value
    raise error


def _fails_with(kind: type[BaseException], codec: Codec, key: str, data: bytes | memoryview) -> bool:
    try:
        codec.decode(key, data)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - as above
        return type(error) is kind
    return False


def say_unreadable(cache: str, key: str, error: BaseException) -> None:
    """Log that what is stored there is no value, at most once an hour for each kind."""
    reason = f"{type(error).__name__}: {_text_of(error)}"
    logger.log(
        logging.WARNING if _is_due(f"{cache}\0{reason}") else logging.DEBUG,
        "What the cache %r holds under %r is no value, and so a miss: %s (said at most once an hour for each kind)",
        cache,
        key[:SHOWN_CHARACTERS],
        ascii(reason)[1:-1],
    )


def _text_of(error: BaseException) -> str:
    try:
        return str(error)[:SHOWN_CHARACTERS]
    except Exception:
        # An exception that cannot say what it is must not become one of the page.
        if _is_silent(error):
            return "it cannot be shown"
        raise  # a signal handler has come between


def _is_silent(error: BaseException) -> bool:
    try:
        str(error)
    except Exception:  # noqa: BLE001 - it fails again
        return True
    return False


def _is_due(kind: str) -> bool:
    now = monotonic()
    said = _said.get(kind)
    if said is not None and now - said < AGAIN_S:
        return False
    if len(_said) >= KINDS_MAX:
        for one in [one for one, when in list(_said.items()) if now - when >= AGAIN_S]:
            _said.pop(one, None)
        if len(_said) >= KINDS_MAX:
            return False
    _said[kind] = now
    return True
