"""One simulated host: its clock, its disk, its workers' view, and the shell around its core."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from django_hacache.consensus.config import CoreConfig
from django_hacache.consensus.core import Core
from django_hacache.consensus.hard_state import Installing, fresh_state
from django_hacache.consensus.log import Log
from django_hacache.consensus.messages import AckLevel, Entry, Sender, Since
from django_hacache.consensus.ready import Ready
from django_hacache.consensus.state import NEVER, Role
from django_hacache.consensus.transfer import LOOK_AGAIN_MS, Next, Outgoing

from .disk import Carried, Disk, DiskFull, read_part
from .kv import ENTRY_BYTES, Command, Overlay
from .plan import RESEND

if TYPE_CHECKING:
    from .cluster import Cluster

PART_BYTES = 1000
WINDOW = (PART_BYTES, 4 * PART_BYTES)
PAUSE = 100.0
LOST_CONNECTION = 800.0
UPKEEP_EVERY = 100
EXPIRED_KEYS = 20
RESTARTS_AFTER = 200.0


@dataclass(slots=True)
class Transfer:
    """A leader's replica on its way to one peer."""

    number: int
    target: str
    process: int  # of the source
    term: int
    outgoing: Outgoing
    link_free_at: float = 0.0
    arrived_at: float = 0.0
    looks: int = 0


class Host:
    def __init__(self, cluster: Cluster, addr: str, rng: Random) -> None:
        plan = cluster.plan
        self.cluster = cluster
        self.addr = addr
        self.rng = rng
        self.clock_offset = rng.randrange(1, 10_000_000)
        self.clock_rate = 1.0 + rng.uniform(-plan.clock_rate_error, plan.clock_rate_error)
        self.wall_offset = 1_700_000_000_000 + rng.randrange(-5000, 5000)
        self.config = CoreConfig(
            addr,
            tuple(peer for peer in cluster.addrs if peer != addr),
            election_timeout_ms=plan.election_timeout,
            heartbeat_ms=plan.heartbeat,
            lease_ms=plan.lease,
            lease_margin=plan.lease_margin,
            log_bytes=plan.log_bytes,
            uncommitted_entries=plan.uncommitted_entries,
            append_bytes=plan.append_bytes,
            apply_bytes=plan.apply_bytes,
            request_table=plan.request_table,
            request_table_bytes=plan.request_table_bytes,
            pending_requests=plan.pending_requests,
            pending_bytes=plan.pending_bytes,
            resend_ms=RESEND,
        )
        self.disk = Disk(rng, plan.request_table, plan.request_table_bytes)
        self.core: Core | None = None
        self.process = 0
        self.paused = False
        self.writing = False
        self.batched = False
        self.inbox: list[tuple[Any, ...]] = []
        self.wakes_at = 0.0
        # The control page: workers read by it even while the node is paused or dead.
        self.lease_until = NEVER
        self.epoch = 0
        self.page_since = Since(1, 0)
        # The process that granted the lease of the page as leader.
        self.granted_as_leader = 0
        self.upkeep_at = 0
        self.unlooked = False
        # The index of a removal that is on its way, and the term that it was proposed in.
        self.removing: tuple[int, Any] = (0, None)
        # What workers still read of a directory that is gone: generation, applied index, end of the lease.
        self.left_behind: list[tuple[Any, int, float]] = []
        # Transfers to peers, and the part that has come and is stored with the next step.
        self.outgoing: dict[str, Transfer] = {}
        self.carried: Carried | None = None
        self.gaps: set[int] = set()
        # Entries of the process that are not stored yet: a Ready said that they may wait.
        self.unstored: list[Entry] = []
        # An armed crash falls at the next step that leaves something durable.
        self.armed: str | None = None

    def clock(self) -> int:
        return int(self.clock_offset + self.cluster.now * self.clock_rate)

    @property
    def running(self) -> bool:
        return self.core is not None and not (self.paused or self.writing)

    def may_read(self) -> bool:
        return self.lease_until > self.clock()

    @property
    def reads_as_leader(self) -> bool:
        """Whether the lease of the page, if it holds, is that of a leader whose process lives."""
        return self.core is not None and self.granted_as_leader == self.process

    def grant(self, deadline: int) -> None:
        """As ControlPage.grant."""
        if not self.may_read():
            self.epoch += 1
        self.lease_until = deadline
        self.granted_as_leader = self.process if self.core.accepts else 0

    def revoke(self) -> None:
        self.epoch += 1
        self.lease_until = NEVER
        self.granted_as_leader = 0
        # A script sends it what no member says.
        self.forged = False

    # the life of the process

    def start(self) -> None:
        assert self.core is None
        disk = self.disk
        self.process += 1
        self.revoke()
        self.page_since = self.disk.since
        self.removing = (0, None)
        self.outgoing.clear()
        self.carried = None
        self.unstored.clear()
        self.evaluator = Overlay(self)
        self.core = Core(
            self.config,
            disk.hard,
            Log(*disk.base, disk.entries),
            applied=disk.applied,
            evaluator=self.evaluator,
            now_ms=self.clock(),
            rng=Random(self.rng.getrandbits(32)),
            requests=disk.requests.items(),
            requests_floor=disk.requests.floor,
            wall_offset_ms=self.wall_offset,
            size_of=lambda command: command.size,
        )
        self.cluster.invariants.started(self)
        self.tick(self.process)

    def crash(self, *, wipe: bool = False) -> None:
        self.core = None
        self.paused = self.writing = self.batched = False
        self.armed = None
        self.inbox.clear()
        if wipe:
            self.lose_directory()
        elif not self.disk.identified:
            self.disk.hard = fresh_state(self.rng)

    def lose_directory(self) -> None:
        self.cluster.invariants.wiped(self)
        if self.may_read():
            self.left_behind.append((self.disk.hard.generation, self.disk.applied, self.lease_until))
        plan = self.cluster.plan
        room = self.disk.room
        self.disk = Disk(self.rng, plan.request_table, plan.request_table_bytes)
        self.disk.room = room
        self.revoke()

    def stop(self) -> None:
        """The process ends by itself: nobody reads by its lease any more."""
        self.crash()
        self.revoke()

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        if self.core is None or not self.paused:
            return
        self.paused = False
        self._catch_up()

    def _catch_up(self) -> None:
        """Take what came while the process did nothing."""
        process = self.process
        while self.inbox and self.running and self.process == process:
            function, arguments = self.inbox.pop(0)
            function(*arguments)
        if self.process == process:
            self.tick(process)

    # what comes in

    def arrive(self, function: Any, *arguments: Any) -> None:
        """Something reaches the process: now, or once it runs again."""
        if self.core is None:
            return
        if self.paused or self.writing:
            self.inbox.append((function, arguments))
        else:
            function(*arguments)

    def receive(self, sender: Sender, message: Any) -> None:
        self.core.receive(sender, message, self.clock())
        self.kick()

    def kick(self) -> None:
        """Carry out what follows: at once, or together with what else arrives in this moment."""
        within = self.cluster.plan.batching
        if not within:
            self.step()
        elif not self.batched:
            self.batched = True
            self.cluster.after(self.rng.uniform(0, within), self._batch_ends, self.process)

    def _batch_ends(self, process: int) -> None:
        if self.batched and process == self.process and self.running:
            self.step()

    def tick(self, process: int) -> None:
        if process != self.process or not self.running:
            return
        self.wakes_at = 0.0
        self.core.tick(self.clock())
        if self.clock() >= self.upkeep_at:
            self.upkeep()
        self.step()

    def upkeep(self) -> bool:
        """The leader proposes what has to go: what has expired, and the oldest beyond the limits; whether it did.

        A step comes with time, and with each change that is beyond the limits: so it follows what is written.
        """
        now, plan = self.clock(), self.cluster.plan
        leadership = self.core.hard.generation, self.core.hard.term
        on_its_way = self.removing[1] == leadership and self.disk.applied < self.removing[0]
        if on_its_way or not self.core.may_propose:
            return False
        self.unlooked = False
        self.upkeep_at = now + UPKEEP_EVERY
        contents = self.disk.contents
        gone = [key for key, end in contents.ends.items() if end <= now][:EXPIRED_KEYS]
        entries, size = len(contents.values), contents.bytes
        for key in contents.values:
            if entries <= plan.max_entries and size <= plan.size_limit:
                break
            entries, size = entries - 1, size - ENTRY_BYTES - contents.padding[key]
            if key not in gone:
                gone.append(key)
        index = self.core.state.log.last_index + 1
        effect = self.evaluator.removal(gone, index)
        if effect and self.core.propose(effect, now):
            self.cluster.invariants.decided(self, index)
            self.cluster.removed += len(gone)
            self.removing = (index, leadership)
            return True
        return False

    def submit(
        self, req_id: str, command: Command, level: AckLevel, token: Any, timeout: int, since: Since
    ) -> None:
        self.core.submit(req_id, command, level, token, timeout_ms=timeout, now_ms=self.clock(), since=since)
        self.kick()

    def peer_gone(self, peer: str) -> None:
        self.core.leader_process_gone(peer, self.clock())
        self.kick()

    def peer_connected(self, peer: str) -> None:
        self.core.peer_connected(peer, self.clock())
        self.kick()

    def hand_over(self) -> bool:
        done = self.core.hand_over(self.clock())
        self.kick()
        return done

    # what goes out

    def step(self, *, at_once: bool = False) -> None:
        """Carry a Ready out, as its fields say and in their order; `at_once`: whatever the disk is like."""
        self.batched = False
        ready = self.core.take_ready()
        assert self.forged or not ready.refused, (
            f"{self.addr} finds an honest message incredible: {ready.refused}"
        )
        durable = (ready.has_durable_part or bool(self.unstored)) and not ready.may_wait
        if self.armed == "before" and durable:
            self.cluster.trace(self, "crashes before its step is durable")
            self.crash()
            return
        if ready.lease_revoked:
            self.revoke()
        try:
            self.persist(ready)
        except DiskFull:
            if not self._stored_after_making_room(ready):
                self._starts_over()
                return
        self.cluster.invariants.stepped(self, ready)
        if self.armed == "after" and durable:
            self.cluster.trace(self, "crashes after its step is durable")
            self.crash()
            return
        slow = self.cluster.plan.disk_delay
        if slow and durable and not at_once and self.rng.random() < 0.3:
            self.writing = True
            self.cluster.after(self.rng.uniform(0, slow), self._written, ready, self.process)
        else:
            self.publish(ready)

    def _stored_after_making_room(self, ready: Ready) -> bool:
        """As RoomMaker has it: what is committed has to be applied, so entries are dropped here, at last all."""
        self.cluster.full += 1
        for share in (0.25, 1.0):
            self.disk.drop(share)
            self.cluster.dropped = True
            try:
                self.persist(ready)
            except DiskFull:
                continue
            return True
        return False

    def _starts_over(self) -> None:
        """Nothing fits: the node ends, and starts again from nothing.

        Not where a majority's directories would be lost with this one, which no cluster survives as it is.
        """
        wipe = self.cluster.invariants.may_lose(self)
        self.cluster.trace(self, "cannot store its step, and", "starts over" if wipe else "ends")
        self.stop()
        if wipe:
            self.lose_directory()
        self.cluster.after(RESTARTS_AFTER, self.cluster.restart, self)

    def persist(self, ready: Ready) -> None:
        if ready.may_wait:
            self.unstored += ready.entries
            return
        if ready.has_durable_part or self.unstored:
            carried = None if self.carried is None else (self.carried, self.clock())
            self.disk.persist(ready, self.unstored, self.core.hard.installing, carried)
            self.unstored.clear()
        self.carried = None
        if ready.apply:
            self.evaluator.applied(self.disk.applied)
            self.unlooked = True

    def _written(self, ready: Ready, process: int) -> None:
        """The disk was slow; now the step goes on, before anything that came meanwhile."""
        if process != self.process or self.core is None:
            return
        self.writing = False
        if self.paused:
            self.inbox.insert(0, (self.publish, (ready,)))
        else:
            self.publish(ready)
            self._catch_up()

    def publish(self, ready: Ready) -> None:
        cluster = self.cluster
        self.page_since = self.disk.since
        if ready.lease_until_ms is not None:
            self.grant(ready.lease_until_ms)
            cluster.invariants.granted(self)
        if ready.role_changed:
            cluster.trace(self, self.core.role.value, "term", self.core.hard.term, "leader", self.core.leader)
        if ready.messages:
            sender = self.core.sender()
            for peer, message in ready.messages:
                cluster.send(self.addr, peer, sender, message)
        for peer in ready.snapshots_to:
            self._begin_transfer(peer)
        for completion in ready.completions:
            cluster.completed(self, completion)
        if self.unlooked and cluster.plan.exceeded_by(self.disk.contents) and self.upkeep():
            self.kick()
        if self.core is not None and self.core.unfinished and not self.batched:
            self.batched = True
            self.cluster.after(self.rng.uniform(0, cluster.plan.batching), self._batch_ends, self.process)
        if self.core is not None:  # that step may have been its last one
            self._wake()

    def _wake(self) -> None:
        now = self.clock()
        local = self.core.next_wakeup_ms(now)
        at = self.cluster.now + max(local - now, 1) / self.clock_rate
        if not self.wakes_at or at < self.wakes_at - 0.5:
            self.wakes_at = at
            self.cluster.at(at, self._alarm, self.process, at)

    def _alarm(self, process: int, at: float) -> None:
        # An earlier alarm was set since, or the process is another one or frozen.
        if process == self.process and at == self.wakes_at:
            self.tick(process)

    # the transfer of the replica

    def _begin_transfer(self, peer: str) -> None:
        cluster = self.cluster
        cluster.transfers += 1
        # A part that is lost is a connection that is lost, and noticed.
        silence = int(LOST_CONNECTION + 8 * cluster.plan.part_time)
        outgoing = Outgoing(self.clock(), window=WINDOW, silence_ms=silence)
        transfer = Transfer(cluster.transfers, peer, self.process, self.core.hard.term, outgoing)
        self.outgoing[peer] = transfer
        cluster.trace(self, "begins transfer", transfer.number, "to", peer)
        self._go_on(transfer)

    def _leads_it(self, transfer: Transfer) -> bool:
        if transfer.process != self.process or self.outgoing.get(transfer.target) is not transfer:
            return False
        return self.core.role is Role.LEADER and self.core.hard.term == transfer.term

    def _go_on(self, transfer: Transfer) -> None:
        """What the shell's task does until it has to wait."""
        if not self._leads_it(transfer):
            return
        outgoing = transfer.outgoing
        while (following := outgoing.next(self.clock())) not in (Next.WAIT, Next.END):
            if following is Next.ASK:
                self._carry(transfer, outgoing.asked(self.clock()), None)
            else:
                carried = read_part(self.disk, outgoing.position, self.clock())
                number = outgoing.sent(PART_BYTES, self.clock())
                outgoing.part_sent(carried.part)
                self._carry(transfer, number, carried)
        if following is Next.END:
            del self.outgoing[transfer.target]
            wait = 0 if outgoing.complete else PAUSE
            self.cluster.after(wait, self.arrive, self._transfer_ended, transfer)
        else:
            transfer.looks += 1
            self.cluster.after(LOOK_AGAIN_MS, self.arrive, self._look_again, transfer, transfer.looks)

    def _look_again(self, transfer: Transfer, looks: int) -> None:
        if transfer.looks == looks:
            self._go_on(transfer)

    def _transfer_ended(self, transfer: Transfer) -> None:
        if transfer.process == self.process and transfer.target not in self.outgoing:
            self.core.transfer_ended(transfer.target, self.clock(), complete=transfer.outgoing.complete)
            self.kick()

    def _carry(self, transfer: Transfer, number: int, carried: Carried | None) -> None:
        """Bring it to the peer in the order in which it was sent, and not faster than the link is."""
        cluster = self.cluster
        target = cluster.hosts[transfer.target]
        took = cluster.plan.part_time if carried is not None else 0.0
        transfer.link_free_at = max(transfer.link_free_at, cluster.now) + took
        arrival = transfer.link_free_at + cluster.network.delay()
        transfer.arrived_at = max(transfer.arrived_at, arrival)
        cluster.deliver_in_order(
            transfer.arrived_at,
            self.addr,
            transfer.target,
            target.take_part,
            transfer,
            self.core.sender(),
            number,
            carried,
        )

    def take_part(self, transfer: Transfer, sender: Sender, number: int, carried: Carried | None) -> None:
        if carried is not None and transfer.number in self.gaps:
            return  # a stream loses nothing and then goes on
        self.step(at_once=True)
        if self.core is None:
            return
        part, requests = None, ()
        if carried is not None:
            part, (requests, _) = carried.part, self.disk.requests_with(carried)
        taken = self.core.part_arrives(sender, transfer.term, part, self.clock(), requests)
        if carried is not None and not taken:
            self.gaps.add(transfer.number)
        self.carried = carried if taken else None
        self.step(at_once=True)
        if self.core is None:
            return
        source = self.cluster.hosts[sender.addr]
        word = (self.core.sender(), number, self.core.hard.installing, not taken)
        self.cluster.deliver(self.addr, source.addr, source.part_answered, transfer, *word)

    def part_answered(
        self, transfer: Transfer, sender: Sender, number: int, installing: Installing | None, refused: bool
    ) -> None:
        if self._leads_it(transfer) and self.core.part_answered(sender, self.clock()):
            transfer.outgoing.acknowledged(number, installing, self.clock(), refused=refused)
            self._go_on(transfer)
