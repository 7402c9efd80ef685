"""A request as it travels: its req_id and its bytes. Must not know what it asks for, nor protobuf."""

from __future__ import annotations

from typing import NamedTuple


class Request(NamedTuple):
    """req_id: the answer carries it, too; empty for a request without one, as one for the status."""

    req_id: str
    payload: bytes
