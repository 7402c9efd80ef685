"""Node: makes the rooms of one host's node, joins them, starts and stops them.

It hands what comes in to the room that it is for; loop.py carries out what the core says to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from random import Random, SystemRandom
from typing import TYPE_CHECKING

from django_hacache.consensus.config import CoreConfig
from django_hacache.consensus.core import Core
from django_hacache.consensus.messages import AckLevel
from django_hacache.exceptions import ReplicaError
from django_hacache.link.server import LinkServer
from django_hacache.node.encoding import codec, signatures
from django_hacache.node.encoding.acks import size_of
from django_hacache.node.evaluation.catalogue import Catalogue, limits_to_wire, sentence_about
from django_hacache.node.evaluation.evaluator import Evaluator
from django_hacache.node.housekeeping import Housekeeping, gate_of, limits_within, values_within
from django_hacache.node.log_throttle import LogThrottle
from django_hacache.node.process.loop import Loop
from django_hacache.node.report import Report
from django_hacache.node.requests.request_handler import RequestHandler
from django_hacache.node.requests.slices import EARLIER
from django_hacache.node.requests.validation import REQUEST_SLACK_BYTES
from django_hacache.node.storage.room_maker import RoomMaker
from django_hacache.node.storage.snapshots import SnapshotReceiver, SnapshotSender
from django_hacache.node.storage.storage import Storage, load
from django_hacache.node.storage.succession import Succession
from django_hacache.node.transport.transport import Transport
from django_hacache.replica.clock import now_ms
from django_hacache.values.signing import codec_of
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from django_hacache.conf import CacheOptions, ClusterConfig
    from django_hacache.consensus.hard_state import Installing
    from django_hacache.consensus.messages import Message, Sender, Since
    from django_hacache.node.requests.request_handler import Reply, Token
    from django_hacache.node.storage.parts import Arrived
    from django_hacache.node.storage.storage import Found
    from django_hacache.replica.control import ControlPage
    from django_hacache.replica.replica import Replica

logger = logging.getLogger("django_hacache.node")

HANDOVER_S = 3.0
# How long a node that stops goes on answering what workers have sent.
ANSWERING_S = 1.0
# A node that was stopped may be started again. On a busy machine Python alone takes two seconds; whoever waited for
# nothing has some of the default WRITE_TIMEOUT left.
BACK_WITHIN_NS = 4_000_000_000
# Held in memory and in the replica: twice this. What a node misses in a restart is a few MiB.
LOG_BYTES = 16 << 20
LOG_SHARE = 16  # of the file system
PUT_LEVEL = AckLevel.LEADER


def _core_of(config: ClusterConfig, capacity: int, found: Found, evaluator: Evaluator, rng: Random) -> Core:
    """The core, as it goes on from what was found in the replica."""
    me, now = config.me().addr, now_ms()
    return Core(
        CoreConfig(
            addr=me,
            peers=tuple(host.addr for host in config.hosts if host.addr != me),
            election_timeout_ms=int(config.election_timeout_s * 1000),
            log_bytes=min(LOG_BYTES, capacity // LOG_SHARE),
        ),
        found.hard,
        found.log,
        applied=found.applied,
        evaluator=evaluator,
        now_ms=now,
        rng=rng,
        requests=found.requests,
        requests_floor=found.requests_floor,
        wall_offset_ms=int(time.time() * 1000) - now,
        size_of=size_of,
    )


class Node:
    """One host's node, from start to stop. Made in the event loop that it runs in.

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
        self._replica = replica
        self._page = page
        # Waits and names come from it, no secrets; SystemRandom asks the kernel each time.
        rng = Random(SystemRandom().getrandbits(256))  # noqa: S311
        self.addr = config.me().addr
        addrs = [host.addr for host in config.hosts]
        others = [addr for addr in addrs if addr != self.addr]
        self._catalogue = Catalogue(caches, others, limits_to_wire(caches))
        limits = limits_within(caches, capacity)
        caches = values_within(caches, capacity)
        gate = gate_of(replica, limits)
        codecs = {name: codec_of(name, options.signing_keys) for name, options in caches.items()}
        evaluator = Evaluator(replica, gate, self._catalogue, codecs)
        self._room = RoomMaker(replica)
        self._storage = storage = Storage(replica, self._room.store)
        found = load(replica, rng)
        succession = Succession(replica, addrs)
        if not found.hard.fresh:
            succession.ensure_may_go_on()
        self.core = core = _core_of(config, capacity, found, evaluator, rng)
        largest = max(EARLIER.bytes, *(options.max_value_bytes for options in caches.values()))
        largest += REQUEST_SLACK_BYTES
        self.transport = transport = Transport(config, self, rng, core.sender, largest)
        self._senders = signatures.SenderReader()
        self._throttle = LogThrottle(logger)
        urls = {host.addr: host.url for host in config.hosts}
        self.report = Report(core, replica, storage, page, self._catalogue, transport, urls, self)
        self._request_handler = handler = RequestHandler(self, self.report, caches)
        self._link = link = self._link_of(socket, largest)
        send = transport.routes.send_request
        self._snapshots = snapshots = SnapshotSender(replica, send, self._transfer_ended, core.table)
        self._receiver = SnapshotReceiver(self)
        keeper = Housekeeping(core, replica, evaluator, limits, gate, self._catalogue)
        self.loop = Loop(
            core, evaluator, replica, storage, page, succession, keeper, transport, snapshots, handler, link
        )

    def _link_of(self, socket: Path, largest: int) -> LinkServer:
        def complain(reason: str, message: str) -> None:
            self._throttle.say(f"worker {reason}", message)

        return LinkServer(socket, self._from_worker, max_request_bytes=largest, complain=complain)

    # life

    async def start(self) -> None:
        """Serve peers, clients and workers. Raises ConfigurationError or LinkError where something is in the way."""
        try:
            await self.transport.listen()
            await self._link.start()
            self._page.note_serving()
        except BaseException:
            await self.transport.close()
            raise
        self.transport.connect()
        self._room.prepare()
        self.core.tick(now_ms())
        self.loop.carry_out()

    async def renew(self, read_again: Callable[[], ClusterConfig]) -> None:
        """See Transport.renew."""
        await self.transport.renew(read_again)

    async def stop(self) -> None:
        """Hand the leadership over, answer what was asked, end the host's lease. One that failed just ends."""
        loop = self.loop
        loop.stopping = True
        loop.handed_over.clear()
        if not loop.failed.is_set() and self.core.hand_over(now_ms()):
            logger.info("%s hands the leadership over", self.addr)
            loop.kick()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(loop.handed_over.wait(), HANDOVER_S)
        self._page.note_stopped(BACK_WITHIN_NS)
        await self._link.close(patience_s=0 if loop.failed.is_set() else ANSWERING_S)
        await self.transport.close()
        self._snapshots.cancel_all()
        self.report.end()
        loop.end()
        self._page.revoke()

    # what Transport tells

    def greeting(self) -> pb.Ack:
        return self.report.greeting()

    def peer_is_up(self, addr: str, caches: Iterable[str], limits: Iterable[pb.CacheLimits]) -> None:
        logger.info("%s has a stream to %s", self.addr, addr)
        for one in self._catalogue.says(addr, caches, limits):
            self._throttle.say(f"{addr} {one.cache} {one.limit}", sentence_about(one))
        self.peer_lost_a_way(addr)

    def peer_lost_a_way(self, addr: str) -> None:
        """Have the core send again what was on its way to the peer."""
        self.loop.begin_turn()
        self.core.peer_connected(addr, now_ms())
        self.loop.kick()

    def peer_is_down(self, addr: str, *, refused: bool) -> None:
        self.loop.begin_turn()
        if self._snapshots.cancel(addr):
            # The peer may come back as the same incarnation: the core must know that it still needs a transfer.
            self._transfer_ended(addr, complete=False)
        if refused:
            self.core.leader_process_gone(addr, now_ms())
            self.loop.kick()

    def peer_answers(self, addr: str, ack: pb.Ack) -> None:
        self.loop.begin_turn()
        match ack.WhichOneof("method"):
            case "status_ack":
                self.report.answered(addr, ack.status_ack)
            case "snapshot_ack":
                self._part_answered(ack.sender, ack.snapshot_ack)
            case _:
                self._to_core(ack.sender, codec.from_ack(ack))

    def peer_asks(self, addr: str, request: pb.CacheRequest) -> None:
        self.loop.begin_turn()
        send_ack = self.transport.routes.send_ack
        match request.WhichOneof("method"):
            case "snapshot_chunk":
                sender = signatures.sender_from_wire(request.sender)
                ack = self._receiver.on_chunk(sender, request.snapshot_chunk)
                send_ack(addr, pb.Ack(snapshot_ack=ack))
            case "snapshot_ack":
                self._part_answered(request.sender, request.snapshot_ack)
            case "status":
                send_ack(addr, pb.Ack(status_ack=self.report.local()))
            case _:
                self._to_core(request.sender, codec.from_request(request))

    def _to_core(self, sender: pb.Sender, message: Message | None) -> None:
        if message is None:
            return
        signed = self._senders.read(sender)
        if self.transport.routes.is_second_copy(signed, message):
            return
        try:
            self.core.receive(signed, message, now_ms())
        except ReplicaError as error:
            self.loop.fail(error)  # what a change does is decided on the replica
        self.loop.kick()

    # the transfer of a replica

    def _transfer_ended(self, peer: str, complete: bool) -> None:
        self.loop.begin_turn()
        self.core.transfer_ended(peer, now_ms(), complete=complete)
        self.loop.kick()

    def _part_answered(self, sender: pb.Sender, ack: pb.SnapshotAck) -> None:
        if self.core.part_answered(signatures.sender_from_wire(sender), now_ms()):
            self._snapshots.on_ack(sender.addr, ack)

    @property
    def installing(self) -> Installing | None:
        return self.core.hard.installing

    def part_arrives(self, sender: Sender, term: int, arrived: Arrived | None) -> bool:
        """Store a part of the leader's replica, or take a question; False where it is not taken."""
        self.loop.carry_out()
        part = None if arrived is None else arrived.part
        requests = self._storage.requests_with(arrived) if arrived is not None and arrived.part.last else ()
        taken = self.core.part_arrives(sender, term, part, now_ms(), requests)
        self.loop.carry_out(arrived if taken else None)
        return taken and not self.loop.failed.is_set()

    def entries(self) -> int:
        """How many entries are in the replica."""
        with self._replica.snapshot() as reading:
            return sum(reading.usage(cache).entries for cache in reading.caches())

    # requests of workers and clients: see Desk

    def client_asks(self, request: pb.CacheRequest, reply: Reply) -> None:
        self.loop.begin_turn()
        self._request_handler.take(request, reply, trusted_ids=False)

    def _from_worker(self, request: pb.CacheRequest, reply: Reply) -> None:
        self.loop.begin_turn()
        self._request_handler.take(request, reply, trusted_ids=True)

    def read(self, cache: str, entry: str) -> bytes | memoryview | None:
        epoch = self._page.epoch
        value = self._replica.get(cache, entry)
        return value if self._page.holds(epoch) else None

    def submit(
        self,
        req_id: str,
        request: pb.CacheRequest,
        level: AckLevel | None,
        token: Token | None,
        timeout: int,
        since: Since,
    ) -> bool:
        self.loop.kick()
        try:
            return self.core.submit(
                req_id, request, level or PUT_LEVEL, token, timeout_ms=timeout, now_ms=now_ms(), since=since
            )
        except ReplicaError as error:
            self.loop.fail(error)
            return False

    def met_candidate(self, url: str) -> None:
        self.transport.met_candidate(url)

    def has_quorum(self) -> bool:
        return self.core.has_quorum(now_ms())

    # what Report asks

    def transfers(self) -> list[pb.Transfer]:
        return [*self._snapshots.transfers(), *self._receiver.transfers()]

    def lost_writes(self) -> int:
        return self._request_handler.lost_writes

    def longest_turn_ms(self) -> int:
        return self.loop.turns.longest_ms
