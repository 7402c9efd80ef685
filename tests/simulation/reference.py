"""What a replica must hold, by the order alone; and when its entries may end, for clocks are not compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .kv import Command, Contents, parse

if TYPE_CHECKING:
    from django_hacache.consensus.messages import Entry

    from .host import Host
    from .plan import Plan


class Span(NamedTuple):
    """An entry ends between these times, on whichever host."""

    earliest: float
    latest: float


class Reference:
    def __init__(self) -> None:
        self._contents = Contents()
        self._spans: dict[str, Span] = {}

    @property
    def digest(self) -> int:
        return self._contents.digest

    def apply(self, effect: bytes, decided_at: float, plan: Plan) -> None:
        """Take over what the leader decided at that time."""
        self._contents.apply(effect)
        change = parse(effect)
        if change is None:
            return
        for key in change.keys:
            if change.ttl and key in self._contents.values:
                self._spans[key] = span(decided_at, change.ttl, plan)
            elif not change.keep:
                self._spans.pop(key, None)

    def wrong(self, command: Command, entry: Entry, decided_at: float, *, dropped: bool) -> str | None:
        """What is wrong with what the leader decided: every increment counts once, an add adds what is absent.

        dropped: the leader's host had dropped the entry to make room, as if it had been evicted.
        """
        present = self._contents.values.get(command.key)
        possible: set[int | None] = {present}
        ends = self._spans.get(command.key)
        if ends is not None and decided_at >= ends.earliest:
            possible = {None} if decided_at > ends.latest else {present, None}
        if dropped:
            present, possible = None, {None}
        effect = parse(entry.effect)
        changes = None if effect is None else effect.kind
        for live in possible:
            if (entry.outcome, changes) == _decision(command, live, held=present is not None):
                return None
        return f"{command} of {possible} came out as {entry.outcome!r}, {changes}"

    def wrong_ends(self, host: Host) -> str:
        """Whether an entry of the host has ended too early or lives too long; empty where none does."""
        clock, now = host.clock(), host.cluster.now
        for key, end in host.disk.contents.ends.items():
            ends = self._spans.get(key)
            if ends is None:
                return f"{key} ends on {host.addr}, and should not"
            if now > ends.latest if end > clock else now < ends.earliest:
                return f"{key} {'lives' if end > clock else 'has ended'} on {host.addr}, expected {ends}"
        return ""


def _decision(command: Command, live: int | None, *, held: bool) -> tuple[bytes, str | None]:
    """The outcome and the kind of the effect, given the live value; `held`: it may have expired and be there."""
    yes = b"0" if live is None else b"1"
    match command.kind:
        case "set":
            return b"1", "set"
        case "add":
            return (b"1", "set") if live is None else (b"0", None)
        case "delete":
            return yes, "del" if held else None
        case "touch":
            return yes, None if live is None else "touch"
        case _:
            return str((live or 0) + command.value).encode(), "set"


def span(decided_at: float, ttl: int, plan: Plan) -> Span:
    """When an entry of that time to live may end.

    Its age travels with it, on the clock of whoever sends it; the way does not count, so it ends late by that: also
    where the receiver was frozen or busy when it came. A replica may have it from a snapshot of a snapshot.
    """
    drift = 2 * plan.clock_rate_error * (ttl + plan.duration) + 5
    slowest = plan.delay[1] + plan.batching + plan.disk_delay
    late = 6 * (400 + slowest + plan.longest_tail + (3 * plan.election_timeout if plan.pauses else 0))
    # The leader decides by the time at which it was told last, which may be a batch ago, and a write to its disk.
    told = plan.batching + plan.disk_delay
    return Span(decided_at + ttl - drift - told, decided_at + ttl + drift + late)
