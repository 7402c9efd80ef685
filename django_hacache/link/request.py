"""A request as it travels: its name and its bytes. Knows neither what it asks for nor protobuf."""

from __future__ import annotations

from typing import NamedTuple


class Request(NamedTuple):
    """`req_id`: the name that the answer will carry; empty where it has none, as one for the status."""

    req_id: str
    payload: bytes
