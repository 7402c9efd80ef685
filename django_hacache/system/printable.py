"""Text of others on its way to a log or a terminal: on one line, and with nothing in it that a terminal obeys.

Names of hosts and caches, roles and reasons come from peers and programs that may be anybody's.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with an escape in place of each character that is not printable; one that has none is left alone."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
