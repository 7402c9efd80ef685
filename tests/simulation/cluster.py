"""Hosts, a network between them, and virtual time: the stage for random lives and for directed scripts."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from django_hacache.consensus.messages import AckLevel, Message, Refusal, Sender
from django_hacache.consensus.state import Completion, Role

from .host import Host
from .invariants import InvariantBroken, Invariants
from .kv import Command
from .network import Network
from .plan import Plan


@dataclass(slots=True)
class Operation:
    """One call of one client."""

    number: int
    req_id: str
    command: Command
    level: AckLevel
    host: str
    process: int
    begun: float
    timeout: int
    ended: Completion | None = None


class Cluster:
    def __init__(self, plan: Plan, rng: Random, *, tracing: bool = False) -> None:
        self.plan = plan
        self.rng = rng
        self.now = 0.0
        self.addrs = tuple(f"n{number}" for number in range(1, plan.nodes + 1))
        self.quorum = plan.nodes // 2 + 1
        self.network = Network(plan, Random(rng.getrandbits(64)))
        self._events: list[tuple[float, int, Callable[..., Any], tuple[Any, ...]]] = []
        self._count = 0
        self._tracing = tracing
        self.steps = 0
        self.transfers = 0
        self._calls = 0
        self.commands: dict[str, Command] = {}
        self.operations: dict[int, Operation] = {}  # that have not ended
        self.ended: list[Operation] = []
        # Directed scripts watch and drop messages here.
        self.filters: list[Callable[[str, str, Message], bool]] = []
        self._incarnations: defaultdict[str, set[str]] = defaultdict(set)
        self.invariants = Invariants(self)
        self.hosts = {addr: Host(self, addr, Random(rng.getrandbits(32))) for addr in self.addrs}

    def trace(self, who: Host | None, *what: object) -> None:
        if self._tracing:
            print(f"{self.now:10.1f} {who.addr if who else '':4}", *what)

    # time

    def at(self, time: float, function: Callable[..., Any], *arguments: Any) -> None:
        self._count += 1
        heapq.heappush(self._events, (time, self._count, function, arguments))

    def after(self, delay: float, function: Callable[..., Any], *arguments: Any) -> None:
        self.at(self.now + delay, function, *arguments)

    def run_until(self, end: float) -> None:
        events = self._events
        while events and events[0][0] <= end:
            self.now, _, function, arguments = heapq.heappop(events)
            self.steps += 1
            function(*arguments)
        self.now = end

    def run(self, duration: float) -> None:
        self.run_until(self.now + duration)

    def run_while(self, condition: Callable[[], bool], *, at_most: float) -> bool:
        """Let time pass while `condition` holds; False where it still holds after `at_most` milliseconds."""
        end = self.now + at_most
        while condition():
            if self.now >= end:
                return False
            self.run(20)
        return True

    # messages

    def send(self, source: str, target: str, sender: Sender, message: Message) -> None:
        for passes in self.filters:
            if not passes(source, target, message):
                return
        copies = self.network.duplicated()
        if self._tracing:
            self.trace(self.hosts[source], "->", target, message)
        self.deliver(source, target, self.hosts[target].receive, sender, message)
        if copies:
            self.deliver(source, target, self.hosts[target].receive, sender, message)

    def deliver(self, source: str, target: str, function: Callable[..., Any], *arguments: Any) -> None:
        """Bring something to another host, if the network lets it through."""
        if not self.network.reaches(source, target) or self.network.lost():
            return
        arrival = self.now + self.network.delay()
        self.at(arrival, self._arrive, source, target, function, arguments)

    def _arrive(
        self, source: str, target: str, function: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> None:
        if self.network.reaches(source, target):
            self.hosts[target].arrive(function, *arguments)

    # hosts

    def start_all(self) -> None:
        for host in self.hosts.values():
            if host.core is None:
                host.start()

    def incarnations_of(self, addr: str) -> set[str]:
        return self._incarnations[addr]

    def host_crashed(self, host: Host) -> None:
        self._incarnations[host.addr].add(host.disk.hard.incarnation)
        for operation in [op for op in self.operations.values() if op.host == host.addr]:
            del self.operations[operation.number]

    def restart(self, host: Host) -> None:
        if host.core is not None:
            return
        self.trace(host, "starts", host.disk.hard)
        host.start()
        for peer in self.addrs:
            if peer != host.addr and self.network.reaches(peer, host.addr):
                self.after(self.network.delay(), self._connected, peer, host.addr)

    def _connected(self, addr: str, peer: str) -> None:
        host = self.hosts[addr]
        host.arrive(host.peer_connected, peer)

    def connection_refused(self, addr: str, by: str) -> None:
        host = self.hosts[addr]
        host.arrive(host.peer_gone, by)

    @property
    def leaders(self) -> list[Host]:
        return [h for h in self.hosts.values() if h.core is not None and h.core.role is Role.LEADER]

    # clients

    def submit(
        self, addr: str, command: Command, level: AckLevel, *, timeout: int, req_id: str = "", since: int = 0
    ) -> Operation:
        host = self.hosts[addr]
        self._calls += 1
        number = self._calls
        req_id = req_id or f"r{number}"
        operation = Operation(number, req_id, command, level, addr, host.process, self.now, timeout)
        self.commands[req_id] = command
        self.operations[number] = operation
        host.submit(req_id, command, level, operation, timeout, since)
        return operation

    def completed(self, host: Host, completion: Completion) -> None:
        operation: Operation = completion.token
        if operation.ended is not None:
            raise InvariantBroken(f"{operation.req_id} ended twice")
        operation.ended = completion
        self.operations.pop(operation.number, None)
        self.ended.append(operation)
        refusal = completion.refusal
        self.trace(host, operation.req_id, operation.level.value, refusal or f"done at {completion.index}")
        slack = 1.3 * operation.timeout + 1000
        unhindered = host.running and not (self.plan.pauses or self.plan.disk_delay)
        if unhindered and self.now - operation.begun > slack:
            raise InvariantBroken(f"{operation.req_id} took {self.now - operation.begun:.0f} ms")
        if refusal is None:
            self.invariants.acknowledges(host, operation, completion.index, completion.outcome)
        elif refusal in (Refusal.NO_QUORUM, Refusal.BUSY):
            self.invariants.not_done(operation)
