"""The node: joins the consensus core with the replica, the workers' socket and the streams of the peers.

Everything runs in one event loop. Inputs go into the core as they come; once in each turn of the loop the core's Ready
is carried out: stored first, then told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from random import Random, SystemRandom
from typing import TYPE_CHECKING

from django_hacache.consensus import messages as core_messages
from django_hacache.consensus.config import CoreConfig
from django_hacache.consensus.core import Core
from django_hacache.consensus.state import Role
from django_hacache.exceptions import ReplicaBroken, ReplicaError, ReplicaFull
from django_hacache.link.server import LinkServer
from django_hacache.node import codec
from django_hacache.node.acceptor import InboundLane, LaneServer
from django_hacache.node.answers import size_of
from django_hacache.node.catalogue import Catalogue, limits_to_wire, sentence_about
from django_hacache.node.complaints import Complaints
from django_hacache.node.durable import Durable, load
from django_hacache.node.effects import MS
from django_hacache.node.evaluator import Evaluator
from django_hacache.node.full import RoomMaker
from django_hacache.node.guesses import Guesses
from django_hacache.node.intake import Intake, Reply, Token
from django_hacache.node.keyring import Keyring
from django_hacache.node.lane import Lane
from django_hacache.node.peers import PeerStream, without_a_vote
from django_hacache.node.report import Report, role_of
from django_hacache.node.roster import Roster
from django_hacache.node.routes import Routes
from django_hacache.node.service import InboundStream, Service, listening_hosts, start_server
from django_hacache.node.slices import EARLIER
from django_hacache.node.snapshots import SnapshotReceiver, SnapshotSender
from django_hacache.node.succession import Succession
from django_hacache.node.turns import Turns
from django_hacache.node.upkeep import Upkeep, gate_of, limits_within, values_within
from django_hacache.node.validation import REQUEST_SLACK_BYTES
from django_hacache.replica.clock import boottime_ns
from django_hacache.values.signing import codec_of
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    import grpc

    from django_hacache.conf import CacheOptions, ClusterConfig
    from django_hacache.consensus.hard_state import Installing
    from django_hacache.node.parts import Arrived
    from django_hacache.replica.control import ControlPage
    from django_hacache.replica.replica import Replica

logger = logging.getLogger("django_hacache.node")

WRITABLE_MS = 1000
HANDOVER_S = 3.0
# What workers have sent before is answered before their connections end, but for those who would wait longer.
ANSWERING_S = 1.0
# A node that was stopped may be started again. On a busy machine Python alone takes two seconds; whoever waited for
# nothing has some of the default WRITE_TIMEOUT left.
BACK_WITHIN_NS = 4_000_000_000
# What is due may be done later by this: to find out when the next thing is due takes longer than many a step.
SOON_MS = 10
STREAMS_END_S = 0.5
# Held in memory and in the replica: twice this. What a node misses in a restart is a few MiB.
LOG_BYTES = 16 << 20
LOG_SHARE = 16  # of the file system
PUT_LEVEL = core_messages.AckLevel.LEADER


def now_ms() -> int:
    return boottime_ns() // MS


class Node:
    """One host's node, from start to stop.

    Args:
        config: the cluster.
        replica: opened for writing, with its journal.
        page: the control page of the same directory.
        socket: where the workers connect.
        caches: the aliases that this node serves.
        capacity: bytes of the file system that holds the replica.
    """

    def __init__(
        self,
        config: ClusterConfig,
        replica: Replica,
        page: ControlPage,
        socket: Path,
        caches: Mapping[str, CacheOptions],
        capacity: int,
    ) -> None:
        self._config = config
        self._replica = replica
        self._page = page
        self.failed = asyncio.Event()
        # It failed because nothing fits, and goes on from nothing.
        self.starts_over = False
        self._handed_over = asyncio.Event()
        self._stopping = False
        # Waits and names come from it, no secrets; SystemRandom asks the kernel each time.
        rng = Random(SystemRandom().getrandbits(256))  # noqa: S311
        me = config.me()
        self.addr = me.addr
        others = [host for host in config.hosts if host.addr != me.addr]
        self._catalogue = Catalogue(caches, (host.addr for host in others), limits_to_wire(caches))
        limits = limits_within(caches, capacity)
        caches = values_within(caches, capacity)
        gate = gate_of(replica, limits)
        codecs = {name: codec_of(name, options.signing_keys) for name, options in caches.items()}
        self._evaluator = Evaluator(replica, gate, self._catalogue, codecs)
        self._room = RoomMaker(replica)
        self._durable = Durable(replica, self._room.store)
        now = now_ms()
        found = load(replica, rng)
        self._succession = Succession(replica, [host.addr for host in config.hosts])
        if not found.hard.fresh:
            self._succession.ensure_may_go_on()
        self.core = Core(
            CoreConfig(
                addr=me.addr,
                peers=tuple(host.addr for host in others),
                election_timeout_ms=int(config.election_timeout_s * 1000),
                log_bytes=min(LOG_BYTES, capacity // LOG_SHARE),
            ),
            found.hard,
            found.log,
            applied=found.applied,
            evaluator=self._evaluator,
            now_ms=now,
            rng=rng,
            requests=found.requests,
            requests_floor=found.requests_floor,
            wall_offset_ms=int(time.time() * 1000) - now,
            size_of=size_of,
        )
        roster = self._roster = Roster(config)
        keyring = self._keyring = Keyring(config)
        guesses = Guesses()
        self._peers = {host.addr: PeerStream(config, me, host, self, rng, roster, keyring) for host in others}
        self._lanes = {host.addr: Lane(config, me, host, self, rng, roster, keyring) for host in others}
        self._routes = Routes(me.addr, self._peers, self._lanes, self.core.sender)
        self._senders = codec.SenderReader()
        self._complaints = Complaints(logger)
        self._lane_server = LaneServer(config, frozenset(self._peers), self, roster, keyring, guesses)
        self.report_view = Report(
            self.core,
            replica,
            tuple(caches),
            self._catalogue.own_limits,
            {host.addr: host.url for host in config.hosts},
            now=now_ms,
            connected=self._routes.connected,
            ask=self._routes.send_request,
            lease_left=lambda: max(page.deadline_ns - boottime_ns(), 0) // MS,
            outgoing=lambda: (
                max((peer.queued_bytes for peer in self._peers.values()), default=0),
                config.buf_client << 20,
            ),
            unread=lambda: (self._service.unread.bytes, self._service.unread.limit),
            unfinished=lambda: (self._service.unfinished.bytes, self._service.unfinished.limit),
            transfers=lambda: [*self._snapshots.transfers(), *self._receiver.transfers()],
            lanes=self._routes.lanes_up,
            is_base=lambda addr: self._peers[addr].is_base,
            lane_port=lambda: self._lane_server.port,
            roster=roster,
            skipped=lambda: self._durable.skipped,
            wrong_tokens=lambda: guesses.count,
            differences=self._catalogue.differences,
            longest_turn_ms=lambda: self._turns.longest_ms,
        )
        self._intake = Intake(self, caches)
        largest = max(EARLIER.bytes, *(options.max_value_bytes for options in caches.values()))
        largest += REQUEST_SLACK_BYTES
        self._link = LinkServer(
            socket,
            self._from_worker,
            max_request_bytes=largest,
            complain=lambda reason, message: self._complaints.say(f"worker {reason}", message),
        )
        self._service = Service(
            config,
            frozenset(self._peers),
            self,
            max_request_bytes=largest,
            roster=roster,
            keyring=keyring,
            guesses=guesses,
        )
        self._server: grpc.aio.Server | None = None
        self._snapshots = SnapshotSender(
            replica, self._routes.send_request, self._transfer_ended, self.core.table
        )
        self._receiver = SnapshotReceiver(self)
        self._upkeep = Upkeep(self.core, replica, self._evaluator, limits, gate, self._catalogue)
        self._turns = Turns()
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = 0
        self._shown = ""
        self._reports: set[asyncio.Task[None]] = set()

    # life

    async def start(self) -> None:
        """Serve peers, clients and workers. Raises ConfigurationError or LinkError where something is in the way."""
        self._loop = asyncio.get_running_loop()
        self._server = await start_server(self._config, self._service, self._keyring)
        try:
            if self._peers and self._config.lane_port is not None:
                self._lane_server.start(listening_hosts(self._config.me().name))
            await self._link.start()
            self._page.note_serving()
        except BaseException:
            await self._lane_server.close()
            await self._server.stop(None)
            raise
        for addr, peer in self._peers.items():
            peer.start()
            self._lanes[addr].start()
        self._room.prepare()
        self.core.tick(now_ms())
        self._carry_out()

    async def renew(self, read_again: Callable[[], ClusterConfig]) -> None:
        """Go by the tokens and certificates that `read_again` finds from now on; connections that are there stay.

        Raises ConfigurationError where they are of no use, and goes on with those that it has.
        """
        self._keyring.take(await asyncio.to_thread(lambda: self._keyring.prepared(read_again())))

    async def stop(self) -> None:
        """Hand the leadership over, answer what was asked, end the host's lease. One that failed just ends."""
        self._stopping = True
        self._handed_over.clear()
        if not self.failed.is_set() and self.core.hand_over(now_ms()):
            logger.info("%s hands the leadership over", self.addr)
            self._kick()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._handed_over.wait(), HANDOVER_S)
        self._page.note_stopped(BACK_WITHIN_NS)
        await self._link.close(patience_s=0 if self.failed.is_set() else ANSWERING_S)
        for addr, peer in self._peers.items():
            await peer.close()
            await self._lanes[addr].close()
        await self._lane_server.close()
        if self._server is not None:
            self._service.end_streams()
            await self._server.stop(STREAMS_END_S)
        self._snapshots.cancel_all()
        for task in self._reports:
            task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._page.revoke()

    # the turn of the loop

    def _begin_turn(self) -> None:
        """Something has come, perhaps the first of what is carried out together."""
        if not self._scheduled:
            self._turns.begin()

    def _kick(self) -> None:
        """Carry out what the core has to say once everything that has arrived by now is in it."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._carry_out)

    def _carry_out(self, arrived: Arrived | None = None) -> None:
        if not self._scheduled:
            self._turns.begin()
        self._scheduled = False
        if self.failed.is_set():
            return
        core = self.core
        try:
            ready = core.take_ready()
            if ready.lease_revoked:
                self._page.revoke()
            self._durable.write(ready, core.hard, core.table.floor, arrived)
            if ready.role_changed and core.leader is not None:
                self._succession.note()
        except Exception as error:  # noqa: BLE001 - whatever it is, it was not stored
            self._fail(error)
            return
        if ready.apply:
            self._evaluator.applied(core.state.applied)
            if self._upkeep.applied(ready.apply) and self._upkeep.step(now_ms()):
                self._kick()
        self._page.note_applied(core.state.applied)
        if ready.lease_until_ms is not None:
            self._page.grant(ready.lease_until_ms * MS)
        for peer, why in ready.refused:
            self._complaints.say(
                f"{peer} claims", f"{peer} sent what no node can mean, and it is ignored: {why}"
            )
        for peer, message in ready.messages:
            self._routes.send(peer, message)
        for peer in ready.snapshots_to:
            self._snapshots.start(peer, core.hard.term)
        for completion in ready.completions:
            self._intake.complete(completion)
        if ready.gave_way:
            logger.warning(
                "%s gives the leadership up: it is heard, and no majority takes what it puts into the order",
                self.addr,
            )
        if not core.handing_over:
            self._handed_over.set()
        if ready.role_changed or (self._shown != "leader" and core.role is Role.LEADER):
            self._role_changed()
        self._set_timer()
        self._turns.end(ready)
        if self._scheduled or core.unfinished:
            self._turns.begin()
            self._kick()

    def _fail(self, error: Exception) -> None:
        """End the node: what cannot be stored must not be promised, and the core already counts on it.

        Whatever the cause is, going on would break promises: the process starts again from what is stored.
        """
        expected = isinstance(error, ReplicaError)
        logger.critical(
            "%s stops: it cannot store what it must remember: %s", self.addr, error, exc_info=not expected
        )
        self._page.revoke()
        self.starts_over = isinstance(error, ReplicaFull)
        if isinstance(error, ReplicaBroken):
            try:
                self._replica.set_aside(error)
            except ReplicaError as whole:
                logger.warning("%s", whole)
        self.failed.set()
        self._handed_over.set()

    def _set_timer(self) -> None:
        now = now_ms()
        if now < self._wakes_at <= now + SOON_MS and not self.core.accept_due:
            return  # it looks again then
        wakeup = self.core.next_wakeup_ms(now)
        if self._timer is not None:
            if wakeup >= self._wakes_at:
                return
            self._timer.cancel()
        self._wakes_at = wakeup
        self._timer = self._loop.call_later((wakeup - now) / 1000, self._tick)

    def _tick(self) -> None:
        self._begin_turn()
        self._timer = None
        self._wakes_at = 0
        now = now_ms()
        if self.core.role is Role.LEADER:
            for peer in self._peers:
                if self._routes.append_moves(peer):
                    self.core.append_moves(peer, now)
        if self._roster.others:
            self.core.hosts_differ(now)
        try:
            self._replica.recheck()
            if self._page.stale():
                raise ReplicaError(
                    f"the control page in {self._replica.directory} was removed while it was in use"
                )
            if self._link.lost():
                raise ReplicaError(f"the socket in {self._replica.directory} was removed while it was in use")
            self.core.tick(now)
            self._upkeep.run(now)
        except ReplicaError as error:
            self._fail(error)
            return
        self._set_writable(now)
        self._page.note_alive(now * MS)
        self._carry_out()

    def _set_writable(self, now: int) -> None:
        core = self.core
        leader = core.leader
        able = core.accepts or (leader in self._peers and self._routes.connected(leader))
        able = able and core.has_quorum(now) and not self._stopping
        if able:
            self._page.set_writable_until((now + WRITABLE_MS) * MS)
        else:
            self._page.note_unwritable()

    def _role_changed(self) -> None:
        core = self.core
        role = role_of(core)
        shown = f"{role} of {core.leader}" if role == "follower" else role
        if shown != self._shown:
            self._shown = shown
            logger.info("%s is now %s (term %d)", self.addr, shown.replace("_", " "), core.hard.term)
        if core.role is not Role.LEADER:
            self._snapshots.cancel_all()

    # messages from peers: what PeerStream and Service need

    def peer_connected(
        self, addr: str, lane_port: int, caches: Iterable[str], limits: Iterable[pb.CacheLimits] = ()
    ) -> None:
        self._begin_turn()
        logger.info("%s has a stream to %s", self.addr, addr)
        if self._config.lane_port is not None:
            self._lanes[addr].announced(lane_port)
        for one in self._catalogue.says(addr, caches, limits):
            self._complaints.say(f"{addr} {one.cache} {one.limit}", sentence_about(one))
        self.core.peer_connected(addr, now_ms())
        self._kick()

    def peer_answered(self, addr: str, ack: pb.Ack) -> None:
        if not ack.HasField("sender") or ack.sender.addr != addr:
            return
        self._begin_turn()
        match ack.WhichOneof("method"):
            case "status_ack":
                self.report_view.answered(addr, ack.status_ack)
            case "snapshot_ack":
                self._part_answered(ack.sender, ack.snapshot_ack)
            case _:
                self._to_core(ack.sender, codec.from_ack(ack))

    def peer_disconnected(self, addr: str) -> None:
        """What it said of itself holds for as long as the stream does."""
        self._lanes[addr].announced(0)

    def peer_lost(self, addr: str, *, refused: bool) -> None:
        self._begin_turn()
        if self._snapshots.cancel(addr):
            # The peer may come back as the same incarnation: the core must know that it still needs one.
            self._transfer_ended(addr, complete=False)
        if refused:
            self.core.leader_process_gone(addr, now_ms())
            self._kick()

    def greeting(self) -> pb.Ack:
        return self.report_view.greeting()

    def stream_opened(self, stream: InboundStream) -> None:
        if stream.is_node:
            self._routes.stream_opened(stream)
            self._peers[stream.addr].is_there()

    def stream_closed(self, stream: InboundStream) -> None:
        if stream.is_node:
            self._routes.stream_closed(stream)

    def lane_opened(self, lane: InboundLane) -> None:
        self._routes.lane_opened(lane)

    def lane_closed(self, lane: InboundLane) -> None:
        self._routes.lane_closed(lane)

    def lane_lost(self, addr: str) -> None:
        """What was on its way over the lane goes again, over the stream."""
        self._begin_turn()
        self.core.peer_connected(addr, now_ms())
        self._kick()

    def lane_request(self, lane: InboundLane, request: pb.CacheRequest) -> None:
        self._from_peer(lane.addr, request)

    def stream_request(self, stream: InboundStream, request: pb.CacheRequest) -> None:
        if not stream.is_node or not request.HasField("sender"):
            self._begin_turn()
            self._intake.take(request, stream.reply, trusted_ids=False)
            return
        self._from_peer(stream.addr, request)

    def _from_peer(self, addr: str, request: pb.CacheRequest) -> None:
        self._begin_turn()
        if request.sender.addr != addr:
            shown = request.sender.addr[:80]
            self._complaints.say(f"{addr} signs", f"{addr} signed a message as {shown!r}; it is ignored")
            return
        match request.WhichOneof("method"):
            case "snapshot_chunk":
                sender = codec.sender_from_wire(request.sender)
                ack = self._receiver.on_chunk(sender, request.snapshot_chunk)
                self._routes.send_ack(addr, pb.Ack(snapshot_ack=ack))
            case "snapshot_ack":
                self._part_answered(request.sender, request.snapshot_ack)
            case "status":
                self._routes.send_ack(addr, pb.Ack(status_ack=self.report_view.local()))
            case _:
                self._to_core(request.sender, codec.from_request(request))

    def _to_core(self, sender: pb.Sender, message: core_messages.Message | None) -> None:
        if message is None:
            return
        signed = self._senders.read(sender)
        if self._routes.is_second_copy(signed, message):
            return
        try:
            self.core.receive(signed, message, now_ms())
        except ReplicaError as error:
            self._fail(error)  # what a change does is decided on the replica
        self._kick()

    # the transfer of a replica

    def _transfer_ended(self, peer: str, complete: bool) -> None:
        self._begin_turn()
        self.core.transfer_ended(peer, now_ms(), complete=complete)
        self._kick()

    def _part_answered(self, sender: pb.Sender, ack: pb.SnapshotAck) -> None:
        if self.core.part_answered(codec.sender_from_wire(sender), now_ms()):
            self._snapshots.on_ack(sender.addr, ack)

    @property
    def installing(self) -> Installing | None:
        return self.core.hard.installing

    def part_arrives(self, sender: core_messages.Sender, term: int, arrived: Arrived | None) -> bool:
        """Store a part of the leader's replica, or take a question; False where it is not taken."""
        self._carry_out()
        part = None if arrived is None else arrived.part
        requests = self._durable.requests_with(arrived) if arrived is not None and arrived.part.last else ()
        taken = self.core.part_arrives(sender, term, part, now_ms(), requests)
        self._carry_out(arrived if taken else None)
        return taken and not self.failed.is_set()

    def entries(self) -> int:
        """How many entries are in the replica."""
        with self._replica.snapshot() as reading:
            return sum(reading.usage(cache).entries for cache in reading.caches())

    # requests of workers and clients: what Intake needs

    def _from_worker(self, request: pb.CacheRequest, reply: Reply) -> None:
        self._begin_turn()
        self._intake.take(request, reply, trusted_ids=True)

    def read(self, cache: str, entry: str) -> bytes | memoryview | None:
        epoch = self._page.epoch
        value = self._replica.get(cache, entry)
        return value if self._page.holds(epoch) else None

    def submit(
        self,
        req_id: str,
        request: pb.CacheRequest,
        level: core_messages.AckLevel | None,
        token: Token | None,
        timeout: int,
        since: int,
    ) -> bool:
        self._kick()
        try:
            return self.core.submit(
                req_id, request, level or PUT_LEVEL, token, timeout_ms=timeout, now_ms=now_ms(), since=since
            )
        except ReplicaError as error:
            self._fail(error)
            return False

    def met_candidate(self, url: str) -> None:
        """A program outside calls itself so: among the nodes it would cost a vote."""
        addr = url.partition("://")[2] or url
        if addr in self._peers:
            self._complaints.say(f"{addr} is base", without_a_vote(addr), level=logging.ERROR)

    def has_quorum(self) -> bool:
        return self.core.has_quorum(now_ms())

    def health(self) -> pb.HealthAck:
        return self.report_view.health()

    def report(self, *, local: bool, reply: Reply) -> None:
        if local:
            reply(pb.Ack(status_ack=self.report_view.local()))
            return
        task = self._loop.create_task(self._report(reply))
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    async def _report(self, reply: Reply) -> None:
        reply(pb.Ack(status_ack=await self.report_view.cluster()))
