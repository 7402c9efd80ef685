"""An election from beginning to end, as docs/explanation/election.md shows it: `python -m tests.simulation.golden`.

Three whole hosts and a perfect network; the host of the leader is lost. What is written here is what the core said.
"""

from __future__ import annotations

from dataclasses import fields
from enum import Enum
from pathlib import Path
from random import Random

from django_hacache.consensus.messages import AckLevel, Message

from .cluster import Cluster
from .host import Host
from .kv import Command
from .plan import Plan

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "election.md"
BEGINS, ENDS = "```text\n", "```\n"
SEED = 1
PATIENCE_MS = 10_000
# Readings of a host's own clock: they say nothing to a reader.
CLOCKS = ("ages_ms", "echo_ms", "election_ts", "node_time_ms", "sent_at_ms", "seq")


class Recorded(Cluster):
    """Writes down every message, and what changes in a host."""

    def __init__(self, plan: Plan, rng: Random) -> None:
        super().__init__(plan, rng)
        self.lines: list[str] = []
        self.began = 0.0
        self._seen: dict[str, tuple[object, ...]] = {}
        self.filters.append(self._message)

    def note(self, who: str, what: str) -> None:
        self.lines.append(f"{self.now - self.began:6.0f}  {who:8}  {what}")

    def look(self) -> None:
        """Note what is another than when it was looked last."""
        for host in self.hosts.values():
            if host.core is None:
                continue
            now = (host.core.role, host.core.hard.term, host.core.hard.vote, host.may_read())
            before = self._seen.get(host.addr, now)
            self._seen[host.addr] = now
            role, term, vote, reads = now
            if before[:2] != now[:2]:
                self.note(host.addr, f"is {role.value} in term {term}")
            if before[2] != vote and vote is not None:
                self.note(host.addr, f"votes for {vote} in term {term}, and has stored that")
            if before[3] != reads:
                self.note(host.addr, "serves reads again" if reads else "serves no reads: its lease is over")

    def _message(self, source: str, target: str, message: Message) -> bool:
        self.look()
        self.note(f"{source} → {target}", shown(message))
        return True


def shown(message: Message) -> str:
    """Its name, and the fields that are anything."""
    told = [
        f"{field.name} {plain(value)}"
        for field in fields(message)
        if field.name not in CLOCKS and (value := getattr(message, field.name))
    ]
    return f"{type(message).__name__:16}{', '.join(told)}".rstrip()


def plain(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(str(getattr(one, 'index', one)) for one in value)})"
    return str(value.value if isinstance(value, Enum) else value)


def election() -> list[str]:
    """The lines from the loss of the leader until everybody who is left serves reads again."""
    cluster = Recorded(Plan(), Random(SEED))
    cluster.start_all()
    assert cluster.run_while(
        lambda: not all(host.may_read() and not host.disk.hard.fresh for host in cluster.hosts.values()),
        at_most=PATIENCE_MS,
    )
    leader = accepting(cluster)
    cluster.submit(leader.addr, Command("set", "key", 1), AckLevel.ALL, timeout=3000)
    cluster.run(1000)
    cluster.look()
    cluster.lines.clear()
    cluster.began = cluster.now
    term = leader.core.hard.term
    leader.crash()
    cluster.note(leader.addr, f"is lost: it led term {term}")
    while not settled(cluster):
        assert cluster.now < cluster.began + PATIENCE_MS
        cluster.run(1)
        cluster.look()
    return cluster.lines


def accepting(cluster: Cluster) -> Host:
    [found] = [host for host in cluster.leaders if host.core is not None and host.core.accepts]
    return found


def settled(cluster: Cluster) -> bool:
    alive = [host for host in cluster.hosts.values() if host.core is not None]
    led = any(host.core is not None and host.core.accepts for host in cluster.leaders)
    return led and all(host.may_read() for host in alive)


def page(lines: list[str]) -> str:
    """The page as it is with these lines in the place of its own."""
    before, _, rest = PAGE.read_text().partition(BEGINS)
    return before + BEGINS + "\n".join(lines) + "\n" + ENDS + rest.partition(ENDS)[2]


if __name__ == "__main__":
    PAGE.write_text(page(election()))
