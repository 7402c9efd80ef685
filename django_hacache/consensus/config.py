"""The numbers that the consensus core works with. All times are milliseconds, all sizes bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def digest_of(hosts: Iterable[str]) -> str:
    """What is equal for two nodes that count the same hosts, in whatever order they list them."""
    return sha256("\n".join(sorted(set(hosts))).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class CoreConfig:
    """Who takes part, and how patient and how generous everybody is.

    The lease must be shorter than the election timeout, and the heartbeat shorter than a third of the lease.
    """

    addr: str
    peers: tuple[str, ...]
    election_timeout_ms: int = 2000
    heartbeat_ms: int = 100
    lease_ms: int = 1000
    # Where a lease is checked it counts for this share of itself, for clocks that run at different rates.
    lease_margin: float = 0.9
    # At the latest after this time a peer that is not needed for a majority gets entries, and each the commit index.
    commit_delay_ms: int = 10
    # An Append or a forwarded change without an answer is sent again after this time, and a moment for its size: a
    # second copy of what is being taken only keeps the other side from the first one.
    resend_ms: int = 1000
    taken_bytes_per_ms: int = 8 << 10  # in a millisecond, by a host that is busy
    append_bytes: int = 1 << 20
    # Of committed entries that one Ready applies, or one larger entry: what a shell does in one go.
    apply_bytes: int = 128 << 10
    # Of all entries that are kept, and of those that are ordered and not committed: the last one may exceed it.
    log_bytes: int = 64 << 20
    uncommitted_entries: int = 20_000
    request_table: int = 32768
    request_table_bytes: int = 16 << 20
    pending_requests: int = 20_000
    pending_bytes: int = 256 << 20
    quorum: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "quorum", (len(self.peers) + 1) // 2 + 1)
        if self.addr in self.peers:
            raise ValueError(f"{self.addr} is listed among its own peers")
        if not self.heartbeat_ms * 3 <= self.lease_ms <= self.election_timeout_ms:
            raise ValueError(
                f"heartbeat {self.heartbeat_ms} ms, lease {self.lease_ms} ms, election timeout "
                f"{self.election_timeout_ms} ms: expected 3 * heartbeat <= lease <= election timeout"
            )

    def patience_ms(self, size: int) -> int:
        """How long what has so many bytes may stay without an answer before it is sent again."""
        return self.resend_ms + size // self.taken_bytes_per_ms

    @property
    def seldom_heartbeat_ms(self) -> int:
        """How often whoever needs no lease is told that the leader lives: several times in an election timeout."""
        return max(self.election_timeout_ms // 4, self.heartbeat_ms)

    @property
    def hosts(self) -> tuple[str, ...]:
        return (self.addr, *self.peers)
