"""The input of the harnesses that play a life: a list of steps, as bytes. Any bytes are such a list.

Each step is a header and a payload: what happens, who does it and how, how long after the step before.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

HEADER = Struct(">BBHI")
STEPS_MAX = 60
PAYLOAD_BYTES_MAX = 1 << 16


class Step(NamedTuple):
    kind: int
    who: int
    after_ms: int
    payload: bytes = b""


def steps_of(data: bytes) -> list[Step]:
    steps, at = [], 0
    while at + HEADER.size <= len(data) and len(steps) < STEPS_MAX:
        kind, who, after_ms, length = HEADER.unpack_from(data, at)
        at += HEADER.size
        length = min(length, PAYLOAD_BYTES_MAX)
        steps.append(Step(kind, who, after_ms, bytes(data[at : at + length])))
        at += length
    return steps


def data_of(steps: list[Step]) -> bytes:
    return b"".join(
        HEADER.pack(kind, who, after_ms, len(payload)) + payload for kind, who, after_ms, payload in steps
    )
