"""Hosts, a network between them, and virtual time: the stage for random lives and for directed scripts."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

from django_hacache.consensus.messages import NEVER_SENT, AckLevel, Forward, Message, Refusal, Sender, Since
from django_hacache.consensus.ready import Completion
from django_hacache.consensus.state import Role

from .host import Host
from .invariants import InvariantBroken, Invariants
from .kv import Command
from .network import Network
from .plan import Plan


@dataclass(slots=True)
class Operation:
    """One call of one worker. It sends again, to the node of its host, what it has no answer to."""

    req_id: str
    command: Command
    level: AckLevel
    host: str
    begun: float
    timeout: int
    # The commit index that the worker found in its host's page before it first sent.
    since: Since
    asked_at: float = 0.0
    attempts: int = 0
    ended: Completion | None = None

    @property
    def deadline(self) -> float:
        return self.begun + self.timeout


class Attempt(NamedTuple):
    """What a node is given with a change, and gives back with the answer."""

    operation: Operation
    number: int


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
        self.operations: dict[str, Operation] = {}  # that have not ended, by req_id
        self.retries = 0
        self.removed = 0
        self.full = 0
        # Whether a host has dropped anything that the others have.
        self.dropped = False
        self.ended: list[Operation] = []
        # Directed scripts watch and drop messages here.
        self.filters: list[Callable[[str, str, Message], bool]] = []
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
        # A change that found no room is refused, and must not happen. A copy that the network makes of it could, and no
        # connection makes one.
        copies = self.network.duplicated() and not (self.plan.limited and isinstance(message, Forward))
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

    def deliver_in_order(
        self, arrival: float, source: str, target: str, function: Callable[..., Any], *arguments: Any
    ) -> None:
        """As deliver, with the time of arrival given: a stream keeps its order."""
        if self.network.reaches(source, target) and not self.network.lost():
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

    def restart(self, host: Host) -> None:
        if host.core is not None:
            return
        self.trace(host, "starts", host.disk.hard)
        host.start()
        for peer in self.addrs:
            if peer != host.addr and self.network.reaches(peer, host.addr):
                self.after(self.network.delay(), self._connected, peer, host.addr)
        for operation in [op for op in self.operations.values() if op.host == host.addr]:
            self.after(self.rng.uniform(0, 20), self._reconnected, operation, host.process)

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
        self,
        addr: str,
        command: Command,
        level: AckLevel,
        *,
        timeout: int,
        req_id: str = "",
        since: Since = NEVER_SENT,
    ) -> Operation:
        """A worker of a host asks for a change; with `since`, it is one that another try may have done."""
        host = self.hosts[addr]
        self._calls += 1
        req_id = req_id or f"r{self._calls}"
        operation = Operation(
            req_id, command, level, addr, self.now, timeout, since if since.applied else host.page_since
        )
        self.commands[req_id] = command
        self.operations[req_id] = operation
        self._ask(host, operation, since)
        return operation

    def waits_for_one(self, req_id: str) -> bool:
        operation = self.operations.get(req_id)
        return operation is not None and operation.level is AckLevel.ONCE

    def _ask(self, host: Host, operation: Operation, since: Since) -> None:
        if operation.ended is not None:
            return
        operation.attempts += 1
        operation.asked_at = self.now
        left = max(int(operation.deadline - self.now), 1)
        attempt = Attempt(operation, operation.attempts)
        host.submit(operation.req_id, operation.command, operation.level, attempt, left, since)

    def _reconnected(self, operation: Operation, process: int) -> None:
        """The worker has found the node that was started again, if that still lives; or it has given up meanwhile."""
        if self.hosts[operation.host].process == process:
            self.ask_again(operation)
            if self.now >= operation.deadline:
                self.operations.pop(operation.req_id, None)

    def ask_again(self, operation: Operation) -> None:
        """The worker's connection broke, with its node or without: until its deadline it sends the same again."""
        if operation.ended is None and self.now < operation.deadline:
            self.retries += 1
            host = self.hosts[operation.host]
            host.arrive(self._ask, host, operation, operation.since)

    def completed(self, host: Host, completion: Completion) -> None:
        attempt: Attempt = completion.token
        operation = attempt.operation
        if attempt.number != operation.attempts:
            return  # the answer to a connection that is gone
        if operation.ended is not None:
            raise InvariantBroken(f"{operation.req_id} ended twice")
        operation.ended = completion
        self.operations.pop(operation.req_id, None)
        self.ended.append(operation)
        refusal = completion.refusal
        self.trace(host, operation.req_id, operation.level.value, refusal or f"done at {completion.index}")
        slack = 1.3 * operation.timeout + 1000
        unhindered = host.running and not (self.plan.pauses or self.plan.disk_delay)
        if unhindered and self.now - operation.asked_at > slack:
            raise InvariantBroken(f"{operation.req_id} took {self.now - operation.begun:.0f} ms")
        if refusal is None:
            self.invariants.acknowledges(host, operation, completion.index, completion.outcome)
        elif refusal in (Refusal.NO_QUORUM, Refusal.BUSY):
            self.invariants.not_done(operation)
