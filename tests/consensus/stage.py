"""A cluster for scripts: what they wait for, write and cut, with every invariant asserted."""

from __future__ import annotations

from django_hacache.consensus.messages import AckLevel
from tests.simulation.cluster import Cluster
from tests.simulation.host import Host
from tests.simulation.kv import Command


class Stage(Cluster):
    def leader(self) -> Host:
        assert self.run_while(lambda: not any(each.core.accepts for each in self.leaders), at_most=15_000)
        return max((each for each in self.leaders if each.core.accepts), key=lambda each: each.core.hard.term)

    def followers(self) -> list[Host]:
        return self.followers_of(self.leader())

    def followers_of(self, leader: Host) -> list[Host]:
        return [host for host in self.hosts.values() if host is not leader]

    def settle(self) -> Host:
        """Let everybody become a full member with a lease."""
        leader = self.leader()
        whole = lambda: all(h.may_read() and not h.disk.hard.fresh for h in self.hosts.values())
        assert self.run_while(lambda: not whole(), at_most=15_000)
        return leader

    def put(
        self, host: Host, key: str, value: int, level: AckLevel = AckLevel.QUORUM, *, timeout: int = 3000
    ):
        return self.submit(host.addr, Command("set", key, value), level, timeout=timeout)

    def write(self, host: Host, key: str, value: int, level: AckLevel = AckLevel.QUORUM) -> None:
        operation = self.put(host, key, value, level)
        assert self.run_while(lambda: operation.ended is None, at_most=5000)
        assert operation.ended.refusal is None

    def cut(self, ones: list[Host], others: list[Host], *, both: bool = True) -> None:
        for one in ones:
            for other in others:
                if one is not other:
                    self.network.cut(one.addr, other.addr)
                    if both:
                        self.network.cut(other.addr, one.addr)

    def value(self, host: Host, key: str) -> int | None:
        return host.disk.contents.values.get(key)
