"""What a node must find again after a restart, or else it is fresh. No rules live here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from django_hacache.consensus.messages import Generation

if TYPE_CHECKING:
    from random import Random


class Installing(NamedTuple):
    """A replica that is being replaced: it holds what the leader's held at `reached`, up to `position` in its order.

    It holds only that part. The node applies nothing after `reached` before more has come: see transfer.py.
    """

    position: bytes
    reached: int
    whole: bool = False  # everything has come; what is committed up to `reached` has yet to be applied


@dataclass(frozen=True, slots=True)
class HardState:
    """The durable state beside the log. It is stored before anything that follows from it leaves the node."""

    incarnation: str
    term: int = 0
    vote: str = ""
    generation: Generation | None = None
    fresh: bool = True
    # The generation that this node voted for while it formed.
    forming: Generation | None = None
    # The leader is sending its replica, and not all of it is here.
    installing: Installing | None = None


def new_identity(rng: Random) -> str:
    return f"{rng.getrandbits(64):016x}"


def fresh_state(rng: Random) -> HardState:
    """The state of a node that starts without one."""
    return HardState(incarnation=new_identity(rng))
