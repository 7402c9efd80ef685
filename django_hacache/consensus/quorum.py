"""Majority arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def reached_by(values: Iterable[int], quorum: int) -> int:
    """The greatest value that at least `quorum` of the values reach; 0 where there are too few."""
    ordered = sorted(values)
    return ordered[-quorum] if len(ordered) >= quorum else 0
