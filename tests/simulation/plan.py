"""What a seed stands for: the size of the cluster, its clocks, its network, its faults and its clients."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from .kv import ENTRY_BYTES, Contents

RESEND = 500
SIZE_LIMIT = 64 << 20


@dataclass(slots=True)
class Plan:
    """One life of one cluster. Times are milliseconds."""

    nodes: int = 3
    duration: int = 10_000
    election_timeout: int = 2000
    heartbeat: int = 100
    lease: int = 1000
    # Clocks run wrong by far more than real ones do, and the margin is as much wider.
    lease_margin: float = 0.7
    clock_rate_error: float = 0.0
    log_bytes: int = 64 << 20
    uncommitted_entries: int = 20_000
    append_bytes: int = 1 << 20
    apply_bytes: int = 128 << 10
    request_table: int = 32768
    request_table_bytes: int = 16 << 20
    pending_requests: int = 20_000
    pending_bytes: int = 256 << 20
    delay: tuple[float, float] = (1.0, 1.0)
    # So many messages take as long as this, at most, or a part of it.
    tails: float = 0.0
    longest_tail: float = 0.0
    loss: float = 0.0
    duplication: float = 0.0
    fault_interval: float = 0.0  # mean; 0: none
    client_interval: float = 0.0  # mean; 0: none
    read_interval: float = 50.0
    # How long a link is busy with one part of a replica.
    part_time: float = 0.0
    pauses: bool = False
    # What arrives within this time shares one step; 0: each input has its own.
    batching: float = 0.0
    # A durable step may take this long, and the node does nothing else meanwhile.
    disk_delay: float = 0.0
    # A majority may lose its directories: entries may be lost, with their whole generation.
    disaster: bool = False
    # Hosts may be told that a leader's process is gone that lives.
    false_evidence: bool = True
    # Workers send again what they have no answer to, and this often while their node lives; mean, 0: never.
    ask_again_interval: float = 0.0
    max_entries: int = 1 << 20
    size_limit: int = SIZE_LIMIT
    # Of the keys that clients write some live this long; 0: none does.
    ttl: int = 0
    keys: int = 4
    padding: int = 0

    @property
    def limited(self) -> bool:
        """Whether writers may have to wait for eviction."""
        return self.size_limit < SIZE_LIMIT

    @property
    def most_bytes(self) -> int:
        """Where a writer waits until eviction has followed."""
        return self.size_limit + max(self.size_limit // 4, 2 * (ENTRY_BYTES + self.padding))

    def exceeded_by(self, contents: Contents) -> bool:
        return len(contents.values) > self.max_entries or contents.bytes > self.size_limit

    @property
    def _entries_take(self) -> float:
        """Until they are at a follower, and its answer is back."""
        return 3 * self.delay[1] + 2 * self.heartbeat + 2 * self.batching + self.disk_delay

    @property
    def leases_last(self) -> bool:
        """Whether a lease outlives the answers that it takes, and the wait for the next ones, on every clock."""
        return self.lease * self.lease_margin * (1 - 2 * self.clock_rate_error) > self._entries_take

    @property
    def log_reaches_back(self) -> bool:
        """Whether a follower gets its entries from the log while clients write, be some of them lost."""
        takes = self._entries_take + (RESEND if self.loss else 0)
        written = takes * (110 + self.padding) / max(self.client_interval, 1)
        return self.log_bytes // 2 > 2 * written

    @property
    def hosts_keep_up(self) -> bool:
        """Whether a host applies as fast as clients write, and as what they write is removed again.

        A step waits for the disk in three of ten cases, for half of the longest delay on average.
        """
        entries = max(self.apply_bytes // (110 + self.padding), 1)
        step = 0.15 * self.disk_delay + self.batching / 2
        return 2 * step / entries < max(self.client_interval, 1)


def draw(rng: Random, duration: int, *, tails: bool = False) -> Plan:
    """The plan of a life; `tails`: some messages take several election timeouts."""
    nodes = rng.choices((1, 3, 5, 7), (4, 64, 26, 6))[0]
    election_timeout = rng.choice((1000, 1500, 2000))
    low = rng.uniform(0.2, 5)
    plan = Plan(
        nodes=nodes,
        duration=duration,
        election_timeout=election_timeout,
        lease=rng.choice((300, election_timeout // 2, election_timeout)),
        clock_rate_error=rng.choice((0.0, 0.01, 0.16)),
        log_bytes=rng.choice((3000, 10_000, 1 << 20)),
        # Enough a round trip for what the clients send, or logs would grow for ever.
        append_bytes=rng.choice((4000, 10_000, 1 << 20)),
        request_table=rng.choice((8, 32, 32768, 32768, 32768, 32768)),
        delay=(low, low + rng.choice((0.5, 5, 30, 115))),
        loss=rng.choice((0.0, 0.0, rng.uniform(0, 0.1), rng.uniform(0, 0.3))),
        duplication=rng.choice((0.0, rng.uniform(0, 0.2))),
        fault_interval=rng.choice((300, 800, 2000)),
        client_interval=rng.choice((20, 50, 150)),
        pauses=rng.random() < 0.7,
        batching=rng.choice((0.0, 0.0, 0.5, 5.0)),
        disk_delay=rng.choice((0.0, 0.0, 2.0, 100.0)),
        disaster=rng.random() < 0.12,
        part_time=rng.choice((0.0, 5.0, 100.0)),
        # The least holds about eight requests.
        request_table_bytes=rng.choice((2500, 10_000, 16 << 20, 16 << 20, 16 << 20, 16 << 20)),
    )
    plan.false_evidence = rng.random() < 0.5
    plan.ask_again_interval = rng.choice((0.0, 200.0, 1000.0))
    plan.ttl = rng.choice((0, 200, 1000, 5000))
    plan.padding = rng.choice((0, 0, 300))
    if rng.random() < 0.5:
        plan.keys = 40
        plan.max_entries = rng.choice((10, 20, 1 << 20))
        plan.size_limit = rng.choice((800, 2000, SIZE_LIMIT))
    if rng.random() < 0.15 or tails:
        plan.tails = rng.choice((0.005, 0.02, 0.05))
        plan.longest_tail = election_timeout * rng.choice((1.5, 4.0))
    if plan.request_table == 8 and not plan.duplication:
        # Small queues, too: what is refused there must not happen. A copy that the network makes of it could, and no
        # connection makes one.
        plan.pending_requests, plan.pending_bytes = 6, 200
    plan.uncommitted_entries = rng.choice((5, 20_000, 20_000))
    plan.apply_bytes = rng.choice((1, 500, 128 << 10))
    return plan
