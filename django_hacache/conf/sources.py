"""Where named values come from: one or several places, the first that has the name wins.

Knows no setting by name. Every value is read through `Source.read`, so that every complaint names the value,
what was expected and the place it came from.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from environ import Env

from django_hacache.conf.shown import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from django_hacache.conf.problems import Findings, Id

T = TypeVar("T")
D = TypeVar("D")


class Place(NamedTuple):
    """Where values are looked up, and how a message calls that place."""

    label: str
    values: Mapping[str, object]


class Source:
    """Values by name from several places.

    None is a value not given: the next place is asked. An empty text is an answer: the default, but for secrets that
    must not be left out by mistake.
    """

    def __init__(self, findings: Findings, places: Iterable[Place], invalid: Id) -> None:
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
        """The parsed value of `name`, or the default where it is absent, empty, or wrong and so reported.

        `may_be_empty` False: an empty text is wrong.
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

    def place_of(self, name: str) -> str:
        """The label of the place that `name` was read from; "the default" where no place has a value."""
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
    """A question that names the known name closest to a misspelt one, or the list of all known ones."""
    names = sorted(known)
    close = difflib.get_close_matches(str(name).upper(), names, n=1)
    return f"Did you mean {close[0]}?" if close else f"Known are {', '.join(names)}."
