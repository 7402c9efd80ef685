"""The sender of a message between nodes, as it stands on the wire, and back."""

from __future__ import annotations

from typing import Any

from django_hacache.consensus import messages as core
from django_hacache.wire import cache_pb2 as pb


def generation_to_wire(generation: core.Generation | None) -> pb.Generation | None:
    return None if generation is None else pb.Generation(number=generation.number, id=generation.id)


def generation_from_wire(message: Any, field: str) -> core.Generation | None:
    if not message.HasField(field):
        return None
    generation = getattr(message, field)
    return core.Generation(generation.number, generation.id)


def sender_to_wire(sender: core.Sender) -> pb.Sender:
    return pb.Sender(
        addr=sender.addr,
        incarnation=sender.incarnation,
        generation=generation_to_wire(sender.generation),
        fresh=sender.fresh,
        hosts=sender.hosts,
    )


def encoded_sender(sender: core.Sender) -> bytes:
    """The field of a request, or of an answer, that says who sends it."""
    return pb.CacheRequest(sender=sender_to_wire(sender)).SerializeToString()


class SenderReader:
    """Reads who sent a message. A peer signs all its messages alike, so the latest reading mostly does."""

    def __init__(self) -> None:
        self._latest: dict[str, tuple[pb.Sender, core.Sender]] = {}

    def read(self, sender: pb.Sender) -> core.Sender:
        known = self._latest.get(sender.addr)
        if known is None or known[0] != sender:
            known = self._latest[sender.addr] = (sender, sender_from_wire(sender))
        return known[1]


def sender_from_wire(sender: pb.Sender) -> core.Sender:
    return core.Sender(
        sender.addr,
        sender.incarnation,
        generation_from_wire(sender, "generation"),
        sender.fresh,
        sender.hosts,
    )
