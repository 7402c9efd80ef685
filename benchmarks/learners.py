"""What a tree of learners would cost: hosts that get every committed entry and do not vote.

A model: learners are not built.
Each host passes on what has gathered to `fan_out` others every `BATCH_MS`, over a virtual network that takes
`HOP_MS` a way. Counted are the messages and bytes of one host, and how late an entry is at the last one.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

HOP_MS = 1.0
BATCH_MS = 10.0  # CoreConfig.commit_delay_ms
HEADER_BYTES = 90  # an Append without entries, signed and framed


@dataclass
class Host:
    """One host of the tree; the voters are its root."""

    children: list[int] = field(default_factory=list)
    waiting: list[float] = field(
        default_factory=list
    )  # when each entry that it has yet to pass on was committed
    flushes: bool = False
    messages: int = 0
    bytes: int = 0
    latest: float = 0.0


def tree(hosts: int, fan_out: int) -> list[Host]:
    """The root and `hosts` learners below it, level by level."""
    made = [Host() for _ in range(hosts + 1)]
    for number in range(1, hosts + 1):
        made[(number - 1) // fan_out].children.append(number)
    return made


def simulate(hosts: int, fan_out: int, writes_s: float, entry_bytes: int, duration_ms: float) -> list[Host]:
    """Entries at a steady rate through the whole tree."""
    made = tree(hosts, fan_out)
    events: list[tuple[float, int, int, list[float]]] = []
    count = int(writes_s * duration_ms / 1000)
    for number in range(count):
        at = number * duration_ms / count
        heapq.heappush(events, (at, number, 0, [at]))
    order = count
    while events:
        now, _, place, entries = heapq.heappop(events)
        host = made[place]
        if entries:
            host.waiting += entries
            host.latest = max(host.latest, now - min(entries))
            if host.children and not host.flushes:
                host.flushes = True
                order += 1
                heapq.heappush(events, (now + BATCH_MS, order, place, []))
            continue
        batch, host.waiting, host.flushes = host.waiting, [], False
        for child in host.children:
            order += 1
            host.messages += 1
            host.bytes += HEADER_BYTES + entry_bytes * len(batch)
            heapq.heappush(events, (now + HOP_MS, order, child, batch))
    return made


def table(writes_s: float, entry_bytes: int, duration_ms: float = 1000.0) -> str:
    """A row for each size and fan-out."""
    lines = [
        "| learners | fan-out | levels | messages a second of the busiest host | MB a second | latest entry |",
        "|---|---|---|---|---|---|",
    ]
    for hosts in (10, 100, 1000):
        for fan_out in (10, 32) if hosts > 10 else (10,):
            made = simulate(hosts, fan_out, writes_s, entry_bytes, duration_ms)
            levels, reached = 0, 0
            while reached < hosts:
                levels += 1
                reached += fan_out**levels
            seconds = duration_ms / 1000
            messages, megabytes = (
                max(host.messages for host in made) / seconds,
                max(host.bytes for host in made) / seconds / 1e6,
            )
            latest = max(host.latest for host in made)
            lines.append(
                f"| {hosts:,} | {fan_out} | {levels} | {messages:,.0f} | {megabytes:.1f} | {latest:.0f} ms |"
            )
    return "\n".join(lines)
