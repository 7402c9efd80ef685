"""Parsers: from what a user wrote to a typed value.

A parser takes the raw value, a text from the environment or any object from settings, and returns the typed one. Where
it cannot, it raises ValueError, whose text completes the sentence "expected ...". Must not know a setting by name.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from environ import Env

if TYPE_CHECKING:
    from collections.abc import Callable

FALSE_STRINGS = ("false", "off", "n", "no", "0")
# IGNORECASE in any pattern here would take 0.2 MB of every worker's memory to compile.
SIZE_UNITS = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
SIZE = re.compile(r"(?P<number>[0-9]{1,15}) ?(?P<unit>[KMGkmg][Ii]?[Bb])")
DOMAIN = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")


def boolean(raw: object) -> bool:
    # django-environ reads every unknown word as False, "ture" too: HA_MODE=ture would be no cluster.
    if isinstance(raw, bool):
        return raw
    text = str(raw).strip().lower()
    if text in Env.BOOLEAN_TRUE_STRINGS:
        return True
    if text in FALSE_STRINGS:
        return False
    raise ValueError("true or false")


def whole_number(low: int, high: int) -> Callable[[object], int]:
    def parse(raw: object) -> int:
        expected = f"a whole number from {low} to {high}"
        if isinstance(raw, bool) or not isinstance(raw, int | str):
            raise ValueError(expected)  # noqa: TRY004 - a parser has one way to say no
        try:
            number = int(raw)
        except ValueError:
            raise ValueError(expected) from None
        if not low <= number <= high:
            raise ValueError(expected)
        return number

    return parse


def size_in_bytes(low: int, high: int) -> Callable[[object], int]:
    count = whole_number(low, high)

    def parse(raw: object) -> int:
        match = SIZE.fullmatch(raw.strip()) if isinstance(raw, str) else None
        try:
            return count(int(match["number"]) * SIZE_UNITS[match["unit"].lower()] if match else raw)
        except ValueError:
            raise ValueError(
                f"bytes, a whole number from {low} to {high}, or a text such as '64MB' or '64MiB'"
            ) from None

    return parse


def seconds(low: float, high: float) -> Callable[[object], float]:
    def parse(raw: object) -> float:
        expected = f"seconds, a number from {low:g} to {high:g}"
        if isinstance(raw, bool) or not isinstance(raw, int | float | str):
            raise ValueError(expected)  # noqa: TRY004 - a parser has one way to say no
        try:
            number = float(raw)
        except (ValueError, OverflowError):
            raise ValueError(expected) from None
        if math.isnan(number) or not low <= number <= high:
            raise ValueError(expected)
        return number

    return parse


def domain(raw: object) -> str:
    if not isinstance(raw, str) or not DOMAIN.fullmatch(raw.strip()):
        raise ValueError("a host name such as cache.example.org")
    return raw.strip()


def system_path(raw: object, expected: str) -> Path:
    if not isinstance(raw, str | os.PathLike):
        raise ValueError(expected)  # noqa: TRY004 - a parser has one way to say no
    path = os.fspath(raw)
    if not isinstance(path, str) or "\0" in path:
        raise ValueError(expected)
    if not path.isprintable() and "-----BEGIN " in path:
        raise ValueError(f"{expected}, not what is in one")
    return Path(path)


def secret(raw: object) -> str:
    # gRPC sends it as metadata, which takes printable ASCII, and HTTP/2 strips blanks at the ends.
    if not isinstance(raw, str) or not raw.isascii() or not raw.isprintable() or raw != raw.strip():
        raise ValueError("printable ASCII characters with no blank at either end")
    return raw
