"""The batch of effects that a step of the core leaves to its shell. No rules live here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django_hacache.consensus.hard_state import HardState
from django_hacache.consensus.messages import Append, Entry, Message, Ping, Refusal


@dataclass(slots=True)
class Completion:
    """The answer to a submitted change: its outcome, or why there is none."""

    token: Any
    outcome: bytes = b""
    index: int = 0
    refusal: Refusal | None = None
    # What is to be said beside the refusal, if anything.
    reason: str = ""


@dataclass(slots=True)
class Ready:
    """What the shell must do, in the order of the fields.

    The shell stores the whole durable part in one transaction. Only after it is committed may messages leave and
    completions be told: a vote or an acknowledgement that could be forgotten is a lie.

    With `may_wait` the durable part is nothing but new entries of a leader, and nothing that leaves counts on them:
    the shell may store it with the next Ready that may not wait, before it, whether that has a durable part or not
    (Raft thesis, section 10.2.1). An entry that a leader loses with its process was committed by nobody, since it is
    stored with its commit at the latest.
    """

    may_wait: bool = False
    # durable
    # The replica is emptied, and the log begins anew after this place.
    reset_log: tuple[int, int] | None = None
    truncate_from: int | None = None
    entries: list[Entry] = field(default_factory=list)
    apply: list[Entry] = field(default_factory=list)
    apply_bytes: int = 0
    compact_to: int | None = None
    compact_term: int = 0
    hard_state: HardState | None = None
    # after that
    lease_revoked: bool = False
    lease_until_ms: int | None = None
    messages: list[tuple[str, Message]] = field(default_factory=list)
    snapshots_to: list[str] = field(default_factory=list)
    completions: list[Completion] = field(default_factory=list)
    role_changed: bool = False
    # This leader stepped down because what it ordered moved to no majority.
    gave_way: bool = False
    # What was ignored since no node can mean it: the peer that sent it, and what it claims.
    refused: list[tuple[str, str]] = field(default_factory=list)

    @property
    def has_durable_part(self) -> bool:
        return bool(
            self.entries
            or self.apply
            or self.reset_log is not None
            or self.truncate_from is not None
            or self.compact_to is not None
            or self.hard_state is not None
        )

    def counts_on_nothing_stored(self) -> bool:
        """Whether a leader's Ready holds nothing durable but entries, and nothing leaves that counts on them."""
        if (
            self.apply
            or self.completions
            or self.snapshots_to
            or self.role_changed
            or self.hard_state is not None
            or self.compact_to is not None
            or self.reset_log is not None
            or self.truncate_from is not None
        ):
            return False
        for _, message in self.messages:  # noqa: SIM110 - in every turn: all() takes twice as long
            if not isinstance(message, Append | Ping):
                return False
        return True
