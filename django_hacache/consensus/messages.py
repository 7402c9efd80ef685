"""What nodes say to each other, as the core sees it.

The names are those of the wire, with the unit where it is time; `election_ts` is milliseconds since 1970. How messages
are encoded is not known here.

Nobody changes a message, or an entry. Those that every write has are not declared frozen all the same: with that they
take three times as long to make.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple
from zlib import crc32


class Generation(NamedTuple):
    """The life of a cluster since it formed; a later one compares greater."""

    number: int
    id: str

    @property
    def mark(self) -> int:
        """What tells it from others in 64 bits, of which there are 32 by chance; never 0."""
        return crc32(self.id.encode()) << 32 | self.number & 0xFFFF_FFFF or 1


class Since(NamedTuple):
    """Where an order was before a change was first sent: an index means nothing in another generation.

    Applied 0: it was not sent yet. Mark 0: of a generation that nobody has named.
    """

    applied: int
    mark: int


NEVER_SENT = Since(0, 0)


class Sender(NamedTuple):
    """Who sent a message. A fresh node has lost its state: its votes and answers do not count.

    `hosts` says which hosts make up the cluster for it (see config.digest_of); an earlier version does not say it.
    """

    addr: str
    incarnation: str
    generation: Generation | None
    fresh: bool
    hosts: str = ""


class AckLevel(Enum):
    """How far a change must have come before it is acknowledged."""

    LEADER = "leader"
    ONCE = "once"
    QUORUM = "quorum"
    ALL = "all"


@dataclass(slots=True)
class Entry:
    """One place in the order. `born_ms` is when it was appended, on the clock of the node that holds this object."""

    index: int
    term: int
    effect: bytes = b""
    req_id: str = ""
    outcome: bytes = b""
    born_ms: int = 0
    size: int = field(init=False, repr=False, compare=False)
    """About what it takes, in bytes; worked out once, since it is asked for many times."""

    def __post_init__(self) -> None:
        self.size = len(self.effect) + len(self.outcome) + len(self.req_id) + 64


@dataclass(frozen=True, slots=True)
class Probe:
    """A node without a leader shows itself."""


@dataclass(frozen=True, slots=True)
class ProbeReply:
    pass


@dataclass(frozen=True, slots=True)
class LeaderReq:
    """Asks for a vote."""

    election_ts: int
    term: int
    last_index: int
    last_term: int
    pre_vote: bool = False
    handover: bool = False
    forming: Generation | None = None


@dataclass(frozen=True, slots=True)
class LeaderReqAck:
    """The vote. Where it is refused, `term` is the voter's own."""

    election_ts: int
    term: int
    granted: bool
    pre_vote: bool = False


@dataclass(frozen=True, slots=True)
class LeaderAck:
    """The sender leads this term."""

    election_ts: int
    term: int


@dataclass(frozen=True, slots=True)
class LeaderAckAck:
    term: int


@dataclass(frozen=True, slots=True)
class LeaderSwitch:
    """The leader hands over to `vote_host`, which starts its election at once."""

    vote_host: str
    election_ts: int
    term: int


@dataclass(frozen=True, slots=True)
class LeaderSwitchAck:
    term: int


@dataclass(frozen=True, slots=True)
class LeaderSwitchPriority:
    """Of two candidates in one term, `vote_host` asked first."""

    vote_host: str
    election_ts: int
    term: int


@dataclass(frozen=True, slots=True)
class LeaderDead:
    """Evidence that the process of `vote_host`, which led `term`, is gone."""

    vote_host: str
    election_ts: int
    term: int


@dataclass(frozen=True, slots=True)
class Ping:
    """The heartbeat; `echo_ms` and `lease_ms` let the follower serve reads until echo + lease on its own clock."""

    term: int
    seq: int
    sent_at_ms: int
    commit_index: int
    echo_ms: int = 0
    lease_ms: int = 0
    admitted: str = ""


@dataclass(frozen=True, slots=True)
class Pong:
    term: int
    seq: int
    sent_at_ms: int
    node_time_ms: int
    applied_index: int


@dataclass(slots=True)
class Append:
    """Entries for a follower's log. `ages_ms` are milliseconds since each was appended, on the sender's clock.

    With `anew` the leader's log no longer reaches the follower's: who does not have (prev_index, prev_term) begins
    there with an empty replica. With `awaited` somebody waits for every host to apply what is committed.
    """

    term: int
    prev_index: int
    prev_term: int
    commit_index: int
    entries: tuple[Entry, ...] = ()
    ages_ms: tuple[int, ...] = ()
    anew: bool = False
    awaited: bool = False


@dataclass(slots=True)
class AppendAck:
    term: int
    success: bool
    match_index: int
    applied_index: int
    prev_index: int
    # The follower's replica is incomplete: the leader's is to be sent.
    installing: bool = False


@dataclass(slots=True)
class Forward:
    """A change on its way to the leader. `since` is a commit index from before it was first sent."""

    req_id: str
    command: Any
    level: AckLevel
    since: int = 0
    timeout_ms: int = 0


class Refusal(Enum):
    """Why a change was not acknowledged."""

    NOT_LEADER = "not leader"
    NO_QUORUM = "no quorum"
    OUTCOME_UNKNOWN = "outcome unknown"
    BUSY = "busy"
    # What the leader's evaluator says: it is never ordered as it is.
    INVALID = "invalid"
    UNKNOWN_CACHE = "unknown cache"
    TOO_LARGE = "too large"


class NeverOrdered(Exception):
    """An Evaluator's refusal of a command that can have no place in the order."""

    def __init__(self, refusal: Refusal, reason: str) -> None:
        super().__init__(reason)
        self.refusal = refusal


@dataclass(slots=True)
class ForwardReply:
    req_id: str
    index: int = 0
    term: int = 0
    outcome: bytes = b""
    refusal: Refusal | None = field(default=None)
    command: Any = None
    reason: str = ""


Message = (
    Probe
    | ProbeReply
    | LeaderReq
    | LeaderReqAck
    | LeaderAck
    | LeaderAckAck
    | LeaderSwitch
    | LeaderSwitchAck
    | LeaderSwitchPriority
    | LeaderDead
    | Ping
    | Pong
    | Append
    | AppendAck
    | Forward
    | ForwardReply
)
