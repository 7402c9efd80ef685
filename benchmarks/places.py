"""Where processes of one host run: beside everything else on this machine, or in a network namespace of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Place:
    """One host: the address that its servers listen on, and what is put before a command to run it there."""

    ip: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()

    def command(self, *command: str) -> list[str]:
        return [*self.prefix, *command]


HERE = Place()
THREE_HERE = (HERE, HERE, HERE)


@dataclass(frozen=True, slots=True)
class Site:
    """A Django site on one host: the environment of its workers, and where they run."""

    environment: Mapping[str, str]
    place: Place = HERE
