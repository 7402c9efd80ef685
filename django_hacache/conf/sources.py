"""Reads named values from one or several origins; the first origin that has the name wins.

Every value is read by `Source.read`, so that every message names the value, what was expected, and its origin. Must not
know a setting by name.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from environ import Env

from django_hacache.conf.redaction import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from django_hacache.conf.problems import Findings, Id

T = TypeVar("T")
D = TypeVar("D")


class Origin(NamedTuple):
    """Where values are looked up, and what a message calls it."""

    label: str
    values: Mapping[str, object]


class Source:
    """Reads values by name.

    Where one origin has None, the next is asked. An empty text means the default, except for a secret that must not be
    left out by mistake.
    """

    def __init__(self, findings: Findings, places: Iterable[Origin], invalid: Id) -> None:
        self._findings = findings
        self._places = [(place.label, _environment(place.values)) for place in places]
        self._invalid = invalid
        self.names: list[str] = []
        self.failed: set[str] = set()

    def read(
        self,
        name: str,
        parse: Callable[[object], T],
        default: D,
        *,
        is_secret: bool = False,
        may_be_empty: bool = True,
    ) -> T | D:
        """Return the parsed value of `name`, or `default` where it is absent, empty, or wrong and so reported.

        may_be_empty: False where an empty text is wrong.
        """
        self.names.append(name)
        for label, env in self._places:
            # Not env.get_value: that follows "$NAME" to another variable, and a secret may begin with "$".
            raw = env.ENVIRON.get(name)
            if raw is None:
                continue
            if may_be_empty and isinstance(raw, str) and not raw.strip():
                return default
            try:
                return parse(raw)
            except ValueError as expected:
                self.failed.add(name)
                what = "(not shown)" if is_secret else shown(raw)
                self._findings.add(
                    self._invalid,
                    f"{name} is {what}, from {label}: expected {expected}.",
                    f"Correct {name} in {label}.",
                )
                return default
        return default

    def origin_of(self, name: str) -> str:
        """Return the label of the origin that `name` was read from; "the default" where none has a value."""
        for label, env in self._places:
            raw = env.ENVIRON.get(name)
            if raw is not None:
                return "the default" if isinstance(raw, str) and not raw.strip() else label
        return "the default"


def _environment(values: Mapping[str, object]) -> Env:
    env = Env()
    env.ENVIRON = values
    return env


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return a question with the known name that is closest to a misspelt one, or else the list of all."""
    names = sorted(known)
    close = difflib.get_close_matches(str(name).upper(), names, n=1)
    return f"Did you mean {close[0]}?" if close else f"Known are {', '.join(names)}."
