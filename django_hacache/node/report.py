"""Answers Health and Status, for people: what this node and its peers say of the cluster.

Reads the other rooms, changes nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from django_hacache.consensus.state import Role
from django_hacache.node.transport.authentication.credentials import EXTENSION_VERSION
from django_hacache.replica.clock import MS, boottime_ns, now_ms
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django_hacache.consensus.core import Core
    from django_hacache.node.evaluation.catalogue import Catalogue
    from django_hacache.node.storage.storage import Storage
    from django_hacache.node.transport.transport import Transport
    from django_hacache.replica.control import ControlPage
    from django_hacache.replica.replica import Replica

PEER_ANSWER_S = 1.0


def role_of(core: Core) -> str:
    """The state of this node, in the words of the base schema's State."""
    if core.role is Role.LEADER:
        if core.handing_over:
            return "leader_switch"
        return "leader" if core.accepts else "leader_tx_await"
    if core.role in {Role.CANDIDATE, Role.PRE_CANDIDATE}:
        return "leadership_requested"
    if core.leader is not None:
        return "follower"
    return "undefined" if core.hard.fresh else "leader_dead"


def health_of(ack: pb.StatusAck) -> str:
    """The cluster's health in a word, from what is known of its hosts."""
    if not ack.quorum:
        return "bad"
    whole = all(host.connected and not host.fresh and not host.incomplete for host in ack.hosts)
    return "good" if whole else "degraded"


class Subject(Protocol):
    """What a Report asks the node itself."""

    def transfers(self) -> list[pb.Transfer]: ...
    def longest_turn_ms(self) -> int: ...
    def lost_writes(self) -> int: ...


class Report:
    """The answers; the peers are asked for theirs."""

    def __init__(
        self,
        core: Core,
        replica: Replica,
        storage: Storage,
        page: ControlPage,
        catalogue: Catalogue,
        transport: Transport,
        urls: Mapping[str, str],
        subject: Subject,
    ) -> None:
        self._core = core
        self._replica = replica
        self._storage = storage
        self._page = page
        self._catalogue = catalogue
        self._transport = transport
        # How HA_HOSTS writes each address: so do the base messages.
        self._urls = urls
        self._subject = subject
        self._started = now_ms()
        self._waiting: dict[str, list[asyncio.Future[pb.StatusAck]]] = {}
        self._telling: set[asyncio.Task[None]] = set()

    def end(self) -> None:
        """Wait for the peers no more."""
        for task in self._telling:
            task.cancel()

    @property
    def uptime_secs(self) -> int:
        return (now_ms() - self._started) // 1000

    def _leader(self) -> pb.Leader | None:
        leader = self._core.leader
        if leader is None:
            return None
        own = leader == self._core.config.addr
        ts = self._core.state.election_ts
        return pb.Leader(
            addr=leader, election_ts=ts, connected=own or self._transport.routes.connected(leader)
        )

    def greeting(self) -> pb.Ack:
        """The first message on every stream that this node serves."""
        leader = self._leader()
        info = pb.LeaderInfo(
            election_ts=self._core.state.election_ts,
            has_quorum=self._core.has_quorum(now_ms()),
            node_addr=self._core.config.addr,
            extension_version=EXTENSION_VERSION,
            lane_port=self._transport.lane_port,
            hosts=self._transport.roster.hosts,
            caches=self._catalogue.own,
            cache_limits=self._catalogue.own_limits,
        )
        if leader is not None and leader.connected:
            # One that has just gone is no leader to follow.
            info.addr = self._urls[leader.addr]
        return pb.Ack(mgmt_ack=pb.MgmtAck(leader_info=info))

    def health(self) -> pb.HealthAck:
        core = self._core
        leader = self._leader()
        if leader is not None:
            leader.addr = self._urls[leader.addr]
        ack = pb.HealthAck(
            uptime_secs=self.uptime_secs,
            quorum=core.has_quorum(now_ms()),
            leader=leader,
            host_health=[
                pb.HostHealth(addr=self._urls[peer], connected=self._transport.routes.connected(peer))
                for peer in core.config.peers
            ],
        )
        getattr(ack.state, role_of(core)).SetInParent()
        return ack

    def local(self) -> pb.StatusAck:
        """This node alone."""
        core, transport = self._core, self._transport
        caches = [
            pb.CacheStatus(name=name, entries=usage.entries, bytes=usage.bytes)
            for name in self._catalogue.own
            for usage in (self._replica.usage(name),)
        ]
        host = pb.HostStatus(
            addr=core.config.addr,
            role=role_of(core),
            connected=True,
            commit_index=core.state.commit,
            applied_index=core.state.applied,
            uptime_secs=self.uptime_secs,
            fresh=core.hard.fresh,
            incomplete=core.hard.installing is not None,
            lease_ms=max(self._page.deadline_ns - boottime_ns(), 0) // MS,
            entries=sum(cache.entries for cache in caches),
            bounds=self._bounds(),
            transfers=self._subject.transfers(),
            lanes=transport.routes.lanes_up(),
            skipped_effects=self._storage.skipped,
            lost_writes=self._subject.lost_writes(),
            wrong_tokens=transport.wrong_tokens,
            longest_turn_ms=self._subject.longest_turn_ms(),
        )
        ack = pb.StatusAck(
            quorum=core.has_quorum(now_ms()),
            leader=self._leader(),
            term=core.hard.term,
            hosts=[host],
            caches=caches,
            addr=core.config.addr,
            other_hosts=[
                *(pb.OtherHosts(addr=addr, hosts=hosts) for addr, hosts in transport.roster.others.items()),
                *(pb.OtherHosts(addr=addr, version=told) for addr, told in transport.roster.versions.items()),
            ],
        )
        ack.other_limits.extend(
            pb.OtherLimit(addr=peer, cache_name=cache, limit=limit, there=there, here=here)
            for peer, cache, limit, there, here in self._catalogue.differences()
        )
        if core.hard.generation is not None:
            ack.generation.number, ack.generation.id = core.hard.generation
        return ack

    def _bounds(self) -> list[pb.Bound]:
        core, config, transport = self._core, self._core.config, self._transport
        queued, room = transport.outgoing_bytes()
        unread, unread_room = transport.unread_bytes()
        unfinished, unfinished_room = transport.unfinished_bytes()
        return [
            pb.Bound(name="log_bytes", used=core.state.log.bytes, limit=config.log_bytes),
            pb.Bound(name="uncommitted_entries", used=core.uncommitted, limit=config.uncommitted_entries),
            pb.Bound(name="uncommitted_bytes", used=core.uncommitted_bytes, limit=config.log_bytes),
            pb.Bound(name="pending_changes", used=core.pending, limit=config.pending_requests),
            pb.Bound(name="pending_bytes", used=core.pending_bytes, limit=config.pending_bytes),
            pb.Bound(name="recent_requests", used=len(core.table), limit=config.request_table),
            pb.Bound(name="recent_requests_bytes", used=core.table.bytes, limit=config.request_table_bytes),
            pb.Bound(name="outgoing_bytes", used=queued, limit=room),
            pb.Bound(name="unread_answers_bytes", used=unread, limit=unread_room),
            pb.Bound(name="unfinished_messages_bytes", used=unfinished, limit=unfinished_room),
        ]

    def tell(self, *, local: bool, reply: Callable[[pb.Ack], None]) -> None:
        """Answer a Status: with this node alone, or with every host once the peers have answered."""
        if local:
            reply(pb.Ack(status_ack=self.local()))
            return
        task = asyncio.get_running_loop().create_task(self._tell(reply))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, reply: Callable[[pb.Ack], None]) -> None:
        reply(pb.Ack(status_ack=await self._cluster()))

    async def _cluster(self) -> pb.StatusAck:
        """Every host, as this node sees it; hosts that do not answer in time are shown as not connected."""
        ack = self.local()
        connected = self._transport.routes.connected
        answers = {peer: self._future_of(peer) for peer in self._core.config.peers if connected(peer)}
        if answers:
            await asyncio.wait(answers.values(), timeout=PEER_ANSWER_S)
        for peer in self._core.config.peers:
            answer = answers.get(peer)
            if answer is not None and answer.done() and not answer.cancelled():
                ack.hosts.append(answer.result().hosts[0])
            else:
                role = "base_protocol" if self._transport.is_base(peer) else "undefined"
                ack.hosts.append(pb.HostStatus(addr=peer, role=role, connected=False))
                if answer is not None:
                    answer.cancel()
        ack.health = health_of(ack)
        return ack

    def _future_of(self, peer: str) -> asyncio.Future[pb.StatusAck]:
        future: asyncio.Future[pb.StatusAck] = asyncio.get_running_loop().create_future()
        # A frozen peer answers none: futures that nobody waits for any more must not pile up.
        waiting = [one for one in self._waiting.get(peer, ()) if not one.done()]
        self._waiting[peer] = [*waiting, future]
        if not self._transport.routes.send_request(peer, pb.CacheRequest(status=pb.Status(local=True))):
            future.cancel()
        return future

    def answered(self, peer: str, ack: pb.StatusAck) -> None:
        """A peer's own status has come."""
        for future in self._waiting.pop(peer, ()):
            if not future.done() and ack.hosts:
                future.set_result(ack)
