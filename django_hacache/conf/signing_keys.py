"""Reads OPTIONS["SIGNING_KEYS"]: the keys that sign values. No message shows a key or a part of one.

Must not know what they sign, nor how: see values/signing.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from django_hacache.conf.problems import Findings, Id

if TYPE_CHECKING:
    from django_hacache.conf.sources import Source

OPTION = "SIGNING_KEYS"
OF_DJANGO = "secret_key"
KEY_BYTES, KEY_BYTES_ADVISED = 16, 32
DIFFERENT_CHARACTERS = 8
NEW_KEY = 'Make one with: python -c "import secrets; print(secrets.token_urlsafe(32))".'
EXPECTED = f"{OF_DJANGO!r}, or a list of keys (texts or bytes) of which the first one signs and all verify"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key, and what messages call it."""

    label: str
    value: bytes = field(repr=False)


SigningKeys = tuple[SigningKey, ...]


def signing_keys(raw: object) -> SigningKeys:
    """Return the keys that the option names, first the one that signs. Raises ValueError that says what is expected."""
    if isinstance(raw, str):
        if raw.strip().lower() != OF_DJANGO:
            raise ValueError(EXPECTED)
        return _of_django()
    if not isinstance(raw, Sequence) or isinstance(raw, bytes | bytearray | memoryview) or not raw:
        raise ValueError(EXPECTED)
    return tuple(_key(f"key {number}", one) for number, one in enumerate(raw, 1))


def _of_django() -> SigningKeys:
    try:
        keys = [("SECRET_KEY", settings.SECRET_KEY)]
    except ImproperlyConfigured:
        raise ValueError(f"a SECRET_KEY in settings, since it is {OF_DJANGO!r}") from None
    keys += [
        (f"SECRET_KEY_FALLBACKS[{number}]", one) for number, one in enumerate(settings.SECRET_KEY_FALLBACKS)
    ]
    return tuple(_key(label, one) for label, one in keys)


def _key(label: str, raw: object) -> SigningKey:
    if isinstance(raw, str):
        return SigningKey(label, raw.encode("utf-8", "surrogatepass"))
    if isinstance(raw, bytes):
        return SigningKey(label, raw)
    raise ValueError(f"{EXPECTED}; {label} is of type {type(raw).__name__}")


def check_strength(keys: SigningKeys, source: Source, findings: Findings) -> None:
    """Report keys that can be guessed. Who guesses one runs code wherever the cache is read."""
    origin = source.origin_of(OPTION)
    for key in keys:
        size, different = len(key.value), len(set(key.value))
        if size < KEY_BYTES:
            findings.add(
                Id.SHORT_SIGNING_KEY,
                f"{OPTION}, from {origin}: {key.label} has {size} bytes, expected {KEY_BYTES} or more.",
                NEW_KEY,
            )
        elif size < KEY_BYTES_ADVISED or different < DIFFERENT_CHARACTERS:
            findings.add(
                Id.WEAK_SIGNING_KEY,
                f"{OPTION}, from {origin}: {key.label} has {size} bytes, {different} of them different: "
                f"{KEY_BYTES_ADVISED} random ones or more are better.",
                NEW_KEY,
            )
