"""Transport: all that this node sends and receives over the network goes through it.

It keeps a stream and a lane to each peer, and serves those that peers and clients open here. It drops a message that is
not signed by who opened the connection. It knows the envelopes of messages, and neither the core nor what they mean.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from django_hacache.exceptions import ConfigurationError
from django_hacache.node.log_throttle import LogThrottle
from django_hacache.node.transport.authentication.guesses import Guesses
from django_hacache.node.transport.authentication.keyring import Keyring
from django_hacache.node.transport.authentication.roster import Roster
from django_hacache.node.transport.beside import Beside
from django_hacache.node.transport.lanes.outbound import OutboundLane
from django_hacache.node.transport.lanes.server import InboundLane, LaneServer
from django_hacache.node.transport.routes import Routes
from django_hacache.node.transport.streams.listening import listening_hosts, start_server
from django_hacache.node.transport.streams.outbound import OutboundStream, without_a_vote
from django_hacache.node.transport.streams.server import StreamServer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from random import Random

    import grpc

    from django_hacache.conf import ClusterConfig
    from django_hacache.consensus.messages import Sender
    from django_hacache.node.requests.request_handler import Reply
    from django_hacache.node.transport.streams.inbound import InboundStream
    from django_hacache.wire import cache_pb2 as pb

logger = logging.getLogger("django_hacache.node")

STREAMS_END_S = 0.5
# A file system over a network may hang for as long as it likes.
READ_AGAIN_S = 10.0


class TransportEvents(Protocol):
    """What a Transport reports to the node."""

    def greeting(self) -> pb.Ack: ...
    def peer_is_up(self, addr: str, caches: Iterable[str], limits: Iterable[pb.CacheLimits]) -> None: ...
    def peer_lost_a_way(self, addr: str) -> None: ...
    def peer_is_down(self, addr: str, *, refused: bool) -> None: ...
    def peer_asks(self, addr: str, request: pb.CacheRequest) -> None: ...
    def peer_answers(self, addr: str, ack: pb.Ack) -> None: ...
    def client_asks(self, request: pb.CacheRequest, reply: Reply) -> None: ...


class Transport:
    """The network of one node, from start to close."""

    def __init__(
        self,
        config: ClusterConfig,
        events: TransportEvents,
        rng: Random,
        sender: Callable[[], Sender],
        max_request_bytes: int,
    ) -> None:
        me = config.me()
        others = [host for host in config.hosts if host.addr != me.addr]
        self._config = config
        self._events = events
        self._throttle = LogThrottle(logger)
        self._guesses = Guesses()
        self.roster = roster = Roster(config)
        self._keyring = keyring = Keyring(config)
        self._beside = Beside()
        self._peers = {
            host.addr: OutboundStream(config, me, host, self, rng, roster, keyring) for host in others
        }
        self._lanes = {
            host.addr: OutboundLane(config, me, host, self, rng, roster, keyring) for host in others
        }
        self.routes = Routes(me.addr, self._peers, self._lanes, sender)
        addrs = frozenset(self._peers)
        self._lane_server = LaneServer(config, addrs, self, roster, keyring, self._guesses)
        self._stream_server = StreamServer(
            config,
            addrs,
            self,
            max_request_bytes=max_request_bytes,
            roster=roster,
            keyring=keyring,
            guesses=self._guesses,
        )
        self._server: grpc.aio.Server | None = None

    # life

    async def listen(self) -> None:
        """Raises ConfigurationError where something is in the way."""
        self._server = await start_server(self._config, self._stream_server, self._keyring)
        if self._peers and self._config.lane_port is not None:
            self._lane_server.start(listening_hosts(self._config.me().name))

    def connect(self) -> None:
        """Open a stream and a lane to each peer, and keep them open."""
        for addr, peer in self._peers.items():
            peer.start()
            self._lanes[addr].start()

    async def close(self) -> None:
        for addr, peer in self._peers.items():
            await peer.close()
            await self._lanes[addr].close()
        await self._lane_server.close()
        if self._server is not None:
            self._stream_server.end_streams()
            await self._server.stop(STREAMS_END_S)

    async def renew(self, read_again: Callable[[], ClusterConfig]) -> None:
        """Use the tokens and certificates that `read_again` finds, for new connections; those that are open stay.

        Raises ConfigurationError where they cannot be used; then the node keeps those that it has.
        """
        try:
            prepared = await self._beside.call(lambda: self._keyring.prepared(read_again()), READ_AGAIN_S)
        except TimeoutError as error:
            raise ConfigurationError(f"to read them takes longer than {READ_AGAIN_S:g} s: {error}") from None
        self._keyring.take(prepared)

    # for the report

    @property
    def peers(self) -> Collection[str]:
        return self._peers.keys()

    @property
    def lane_port(self) -> int:
        return self._lane_server.port

    @property
    def wrong_tokens(self) -> int:
        return self._guesses.count

    def is_base(self, addr: str) -> bool:
        return self._peers[addr].is_base

    def outgoing_bytes(self) -> tuple[int, int]:
        """What waits for the peer for which most does, and how much may."""
        longest = max((peer.queued_bytes for peer in self._peers.values()), default=0)
        return longest, self._config.buf_client << 20

    def unread_bytes(self) -> tuple[int, int]:
        """What clients were sent and have not read, and how much that may be."""
        return self._stream_server.unread.bytes, self._stream_server.unread.limit

    def unfinished_bytes(self) -> tuple[int, int]:
        """What clients have begun to send and not ended, and how much that may be."""
        return self._stream_server.unfinished.bytes, self._stream_server.unfinished.limit

    def met_candidate(self, url: str) -> None:
        """A client calls itself `url`. Where that is a host of HA_HOSTS no node runs there, and a vote is missing."""
        addr = url.partition("://")[2] or url
        if addr in self._peers:
            self._throttle.say(f"{addr} is base", without_a_vote(addr), level=logging.ERROR)

    # what the streams, the lanes and their servers report

    def greeting(self) -> pb.Ack:
        return self._events.greeting()

    def peer_connected(
        self, addr: str, lane_port: int, caches: Iterable[str], limits: Iterable[pb.CacheLimits] = ()
    ) -> None:
        if self._config.lane_port is not None:
            self._lanes[addr].announced(lane_port)
        self._events.peer_is_up(addr, caches, limits)

    def peer_disconnected(self, addr: str) -> None:
        """Forget its lane's port: what a peer has announced holds for as long as the stream does."""
        self._lanes[addr].announced(0)

    def peer_lost(self, addr: str, *, refused: bool) -> None:
        self._events.peer_is_down(addr, refused=refused)

    def peer_answered(self, addr: str, ack: pb.Ack) -> None:
        if ack.HasField("sender") and ack.sender.addr == addr:
            self._events.peer_answers(addr, ack)

    def stream_opened(self, stream: InboundStream) -> None:
        if stream.is_node:
            self.routes.stream_opened(stream)
            self._peers[stream.addr].is_there()

    def stream_closed(self, stream: InboundStream) -> None:
        if stream.is_node:
            self.routes.stream_closed(stream)

    def lane_opened(self, lane: InboundLane) -> None:
        self.routes.lane_opened(lane)

    def lane_closed(self, lane: InboundLane) -> None:
        self.routes.lane_closed(lane)

    def lane_lost(self, addr: str) -> None:
        """Have what was on its way over the lane sent again, over the stream."""
        self._events.peer_lost_a_way(addr)

    def lane_request(self, lane: InboundLane, request: pb.CacheRequest) -> None:
        self.from_peer(lane.addr, request)

    def stream_request(self, stream: InboundStream, request: pb.CacheRequest) -> None:
        if stream.is_node and request.HasField("sender"):
            self.from_peer(stream.addr, request)
        else:
            self._events.client_asks(request, stream.reply)

    def from_peer(self, addr: str, request: pb.CacheRequest) -> None:
        """Take a request from a connection that `addr` has opened."""
        if request.sender.addr != addr:
            shown = request.sender.addr[:80]
            self._throttle.say(f"{addr} signs", f"{addr} signed a message as {shown!r}; it is ignored")
            return
        self._events.peer_asks(addr, request)
