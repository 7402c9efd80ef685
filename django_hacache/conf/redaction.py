"""What a message may show of a wrong value: a secret that was put in the wrong setting must not end in a log.

A message shows numbers, words, and paths and addresses that are made of such. Of any other value it says only of what
kind it is, and in which setting it stands. Must not know a setting by name.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from django_hacache.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NUMBER = re.compile(r"[+-]?[0-9][0-9_.]{0,11}(?: ?[A-Za-z]{1,3})?")
# No token and no key is made of such words; a password in a URL stands before "@" or after "=".
_WORD = "(?:[A-Za-z_-]{1,16}[0-9]{0,3}|[0-9]{1,5})"
_BETWEEN = r"[/:.,~$%{}()\[\]]"
WORDS = re.compile(f"{_BETWEEN}*(?:{_WORD}(?:{_BETWEEN}+{_WORD})*)?{_BETWEEN}*")
SHOWN_CHARACTERS_MAX = 64
NAME = re.compile(r"[A-Za-z_]{1,32}")
DOTTED = re.compile(r"[A-Za-z_]{1,32}(?:\.[A-Za-z_]{1,32})+")
PEM_SUFFIXES = frozenset({".pem", ".crt", ".cer", ".cert", ".key"})
LISTED = 8


def shown(raw: object) -> str:
    """Return the value's repr where that is harmless, else a description of it."""
    if raw is None or isinstance(raw, bool):
        return repr(raw)
    if isinstance(raw, int) and raw.bit_length() > 64:  # Python refuses to write very long ones
        return f"a number of {raw.bit_length()} bits"
    if isinstance(raw, int | float):
        return repr(raw)
    if isinstance(raw, os.PathLike):
        raw = os.fspath(raw)
    if isinstance(raw, str):
        short = len(raw) <= SHOWN_CHARACTERS_MAX
        harmless = short and (NUMBER.fullmatch(raw) or WORDS.fullmatch(raw.strip()))
        return repr(raw) if harmless else f"a text of {len(raw)} characters (not shown)"
    return f"a value of type {type(raw).__name__} (not shown)"


def shown_name(raw: object) -> str:
    """Return the repr of a setting's or an option's name where it looks like one, else a description of it."""
    return repr(raw) if isinstance(raw, str) and NAME.fullmatch(raw) else shown(raw)


def is_dotted(raw: object) -> bool:
    """Whether it looks like the path of something to import."""
    return isinstance(raw, str) and DOTTED.fullmatch(raw) is not None


def shown_file(path: Path) -> str:
    """Return the path, unless there is no such file and its name is that of none: it may be the key itself."""
    if path.suffix in PEM_SUFFIXES or path.exists():
        return f"'{printable(str(path))}'"
    return "a path without such a file (not shown)"


def listed(names: Iterable[str]) -> str:
    """Return the first names in one text, and how many more there are."""
    names = list(names)
    more = [f"{len(names) - LISTED} more"] if len(names) > LISTED + 1 else []
    return ", ".join([*(names[:LISTED] if more else names), *more])
