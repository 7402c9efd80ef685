"""Numbers as people read them."""

from __future__ import annotations


def number(value: float) -> str:
    """Three digits that say something: 0.123, 1.23, 12.3, 123, 1,230."""
    if value >= 1000:
        places = len(str(int(value))) - 3
        return f"{round(value, -places):,.0f}"
    if value >= 100:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}"


def times(microseconds: float) -> str:
    """A length of time in the unit that suits it."""
    if microseconds >= 1000:
        return milliseconds(microseconds / 1000)
    return f"{number(microseconds)} µs"


def milliseconds(value: float) -> str:
    return f"{number(value)} ms"
