"""Stored bytes that are no value: a miss for the reader, and a line in the log for each kind.

A program outside the site wrote them, or they are of a class that this release does not have, not signed, or damaged.
Decoding may raise anything, and so may a signal handler in the middle of it. To tell which it was, decode again: where
that fails, too, the value is at fault; else the exception belongs to the caller. Must not know a replica.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django_hacache.system.platform import monotonic

if TYPE_CHECKING:
    from django_hacache.values.signing import Codec

logger = logging.getLogger("django_hacache.cache")

KINDS_MAX = 100
INTERVAL_S = 3600.0
SHOWN_CHARACTERS = 200

# Another thread may be importing the value's module at this moment: then decoding fails once, with one of these.
TRANSIENT = (ImportError, AttributeError)

# When each kind was logged last in this process. Texts and numbers only: a forked child may go on with them.
_logged_at: dict[str, float] = {}


def decode_again(
    codec: Codec, cache: str, key: str, data: bytes | memoryview, error: BaseException, default: Any
) -> Any:
    """Decode `data` once more, while `error` is handled, which the first try raised.

    Returns `default` where it fails again, and logs why. Raises `error` where that is the caller's, whatever class it
    has: those of time limits and of Rust's panics are no subclasses of Exception.
    """
    if isinstance(error, KeyboardInterrupt):
        raise error
    try:
        value = codec.decode(key, data)
    except KeyboardInterrupt:
        raise
    except BaseException as other:
        if type(other) is not type(error) and _fails_with(type(error), codec, key, data):
            raise  # the value fails with `error`'s class: a signal handler has raised this other one
        log_unreadable(cache, key, error)
        return default
    if isinstance(error, TRANSIENT):
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


def log_unreadable(cache: str, key: str, error: BaseException) -> None:
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
        # An exception without a text must not become an error of the page.
        if _has_no_text(error):
            return "it cannot be shown"
        raise  # a signal handler has raised this one


def _has_no_text(error: BaseException) -> bool:
    try:
        str(error)
    except Exception:  # noqa: BLE001 - it fails again
        return True
    return False


def _is_due(kind: str) -> bool:
    now = monotonic()
    logged_at = _logged_at.get(kind)
    if logged_at is not None and now - logged_at < INTERVAL_S:
        return False
    if len(_logged_at) >= KINDS_MAX:
        for one in [one for one, when in list(_logged_at.items()) if now - when >= INTERVAL_S]:
            _logged_at.pop(one, None)
        if len(_logged_at) >= KINDS_MAX:
            return False
    _logged_at[kind] = now
    return True
