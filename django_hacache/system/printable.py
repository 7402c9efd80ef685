"""Makes text of others fit for a log or a terminal: on one line, and without what a terminal would obey.

Peers and programs send names of hosts and caches, roles and reasons, and may be anybody's.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """Return the text with an escape in place of each character that is not printable."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
