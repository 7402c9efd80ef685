"""Outcomes of changes. They are named tuples, since no other immutable object is made as fast."""

from __future__ import annotations

import enum
from typing import NamedTuple


class Why(enum.Enum):
    """Why a change did not take effect."""

    ABSENT = enum.auto()
    PRESENT = enum.auto()
    CHANGED = enum.auto()
    NOT_AN_INTEGER = enum.auto()


class Outcome(NamedTuple):
    """Whether a change took effect, and why not; for an Increment the new number, for a Batch one flag each."""

    effective: bool
    number: int | None = None
    why: Why | None = None
    each: tuple[bool, ...] = ()


DONE = Outcome(effective=True)
ABSENT = Outcome(effective=False, why=Why.ABSENT)
PRESENT = Outcome(effective=False, why=Why.PRESENT)
CHANGED = Outcome(effective=False, why=Why.CHANGED)
NOT_AN_INTEGER = Outcome(effective=False, why=Why.NOT_AN_INTEGER)
