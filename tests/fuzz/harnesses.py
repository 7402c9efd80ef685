"""The harnesses by name, and how an input of each is changed without breaking its form."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from django_hacache.wire import cache_pb2 as pb

from . import frames, intake, member, pages, records, values
from .mutation import mutate_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random


class Harness(NamedTuple):
    run: Callable[[bytes], None]
    about: str
    # Of an input that is steps: how many kinds there are, and of which the payload is a message.
    kinds: int = 0
    payloads: Mapping[int, type] = {}
    # Bytes before the steps.
    before: int = 0

    def mutated(self, data: bytes, rng: Random, blindly: Callable[[bytes], bytes]) -> bytes:
        if not self.kinds:
            return blindly(data)
        before = (
            data[: self.before] if data and rng.random() < 0.9 else bytes([rng.randrange(3)]) * self.before
        )
        return before + mutate_steps(data[self.before :], rng, self.kinds, self.payloads, blindly)


REQUEST, ACK = pb.CacheRequest, pb.Ack
HARNESSES = {
    "member": Harness(
        member.run,
        "what the other hosts of a cluster send, to a node with its core, codec and replica",
        member.KINDS,
        {
            member.REQUEST: REQUEST,
            member.ANSWER: ACK,
            member.CLIENT: REQUEST,
            member.WORKER: REQUEST,
        },
        before=1,
    ),
    "intake": Harness(
        intake.run,
        "requests of clients and workers",
        intake.KINDS,
        {intake.CLIENT: REQUEST, intake.WORKER: REQUEST},
    ),
    "frames": Harness(
        frames.run,
        "bytes on the workers' socket and on lanes",
        frames.KINDS,
        {frames.WORKER: REQUEST, frames.STRANGER: pb.LaneHello, frames.PEER: REQUEST},
    ),
    "values": Harness(values.run, "stored values, and bytes that are none"),
    "records": Harness(records.run, "the records of a replica's file, and the control page", records.KINDS),
    "pages": Harness(pages.run, "the pages of a replica's file, as they are looked at for damage"),
}
