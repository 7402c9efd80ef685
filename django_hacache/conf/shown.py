"""What a message may show of a value that is wrong: whoever puts a secret in the wrong place must not find it in a log.

Numbers, words, and paths and addresses that are made of such are shown. Of all else it is said what it is: the message
says where it stands, too, and there it can be looked at. Knows no setting by name.
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
# Neither a token nor a key is made of such words; a password in a URL stands before "@", or after "=".
_WORD = "(?:[A-Za-z_-]{1,16}[0-9]{0,3}|[0-9]{1,5})"
_BETWEEN = r"[/:.,~$%{}()\[\]]"
WORDS = re.compile(f"{_BETWEEN}*(?:{_WORD}(?:{_BETWEEN}+{_WORD})*)?{_BETWEEN}*")
SHOWN_CHARACTERS_MAX = 64
NAME = re.compile(r"[A-Za-z_]{1,32}")
DOTTED = re.compile(r"[A-Za-z_]{1,32}(?:\.[A-Za-z_]{1,32})+")
PEM_SUFFIXES = frozenset({".pem", ".crt", ".cer", ".cert", ".key"})
LISTED = 8


def shown(raw: object) -> str:
    """A value, or what it is."""
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
    """The name of a setting or an option, as far as it looks like one."""
    return repr(raw) if isinstance(raw, str) and NAME.fullmatch(raw) else shown(raw)


def is_dotted(raw: object) -> bool:
    """Whether it looks like the path of something to import."""
    return isinstance(raw, str) and DOTTED.fullmatch(raw) is not None


def shown_file(path: Path) -> str:
    """The path of a file, unless that is no file and has no name of one: it may be what belongs in the file."""
    if path.suffix in PEM_SUFFIXES or path.exists():
        return f"'{printable(str(path))}'"
    return "a path without such a file (not shown)"


def listed(names: Iterable[str]) -> str:
    """Some names, and how many more there are."""
    names = list(names)
    more = [f"{len(names) - LISTED} more"] if len(names) > LISTED + 1 else []
    return ", ".join([*(names[:LISTED] if more else names), *more])
