"""The ways to each peer: the stream and the lane that this node opened, and those that the peer opened.

A message goes the quickest way that is up; heartbeats go two ways, and the first to arrive counts. What a message means
is not known here, only what it can travel as: a request on what this node opened, an Ack on what the peer did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_hacache.consensus import messages as core_messages
from django_hacache.node import codec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django_hacache.node.lane import InboundLane, Lane
    from django_hacache.node.peers import PeerStream
    from django_hacache.node.service import InboundStream
    from django_hacache.wire import cache_pb2 as pb

HEARTBEATS = (core_messages.Ping, core_messages.Pong, core_messages.Probe, core_messages.ProbeReply)


class Routes:
    """Sends what the core and the other rooms of the node have for the peers, signed."""

    def __init__(
        self,
        addr: str,
        streams: Mapping[str, PeerStream],
        lanes: Mapping[str, Lane],
        sender: Callable[[], core_messages.Sender],
    ) -> None:
        self._addr = addr
        self._streams = streams
        self._lanes = lanes
        self._sender = sender
        self._signature: tuple[core_messages.Sender, pb.Sender] | None = None
        # What each peer opened, the latest last: answers go there.
        self._inbound_streams: dict[str, list[InboundStream]] = {}
        self._inbound_lanes: dict[str, list[InboundLane]] = {}

    def connected(self, peer: str) -> bool:
        """Whether there is a way to the peer that this node opened."""
        return self._streams[peer].connected or self._lanes[peer].up

    def lanes_up(self) -> list[str]:
        return [peer for peer, lane in self._lanes.items() if lane.up]

    # what the peers opened

    def stream_opened(self, stream: InboundStream) -> None:
        self._inbound_streams.setdefault(stream.addr, []).append(stream)

    def stream_closed(self, stream: InboundStream) -> None:
        self._inbound_streams[stream.addr].remove(stream)

    def lane_opened(self, lane: InboundLane) -> None:
        self._inbound_lanes.setdefault(lane.addr, []).append(lane)

    def lane_closed(self, lane: InboundLane) -> None:
        self._inbound_lanes[lane.addr].remove(lane)

    # sending

    def send(self, peer: str, message: core_messages.Message) -> None:
        """Send a message of the core. It may be lost: the protocol sends again what matters."""
        heartbeat = isinstance(message, HEARTBEATS)
        ack, request = codec.to_ack(message, self._addr), None
        if ack is not None:
            self._sign(ack)
            if self._ack_over_lane(peer, ack) and not heartbeat:
                return
        if ack is None or heartbeat:
            request = codec.to_request(message, self._addr)
        if request is not None:
            self._sign(request)
            if self._lanes[peer].send(request) and not heartbeat:
                return
        self._over_streams(peer, message, ack, request, heartbeat=heartbeat)

    def _over_streams(
        self,
        peer: str,
        message: core_messages.Message,
        ack: pb.Ack | None,
        request: pb.CacheRequest | None,
        *,
        heartbeat: bool,
    ) -> None:
        answered = ack is not None and self._ack_over_stream(peer, ack, urgent=heartbeat)
        if answered and not heartbeat:
            return
        if request is None and (request := codec.to_request(message, self._addr)) is not None:
            self._sign(request)
        if request is not None:
            self._streams[peer].send(request, urgent=heartbeat)

    def send_request(self, peer: str, request: pb.CacheRequest) -> bool:
        """Send over the stream what may be large or slow; False where it is down or full."""
        self._sign(request)
        return self._streams[peer].send(request)

    def send_ack(self, peer: str, ack: pb.Ack) -> bool:
        """Answer over the stream that the peer opened; False where there is none."""
        self._sign(ack)
        return self._ack_over_stream(peer, ack, urgent=False)

    def _ack_over_lane(self, peer: str, ack: pb.Ack) -> bool:
        lanes = self._inbound_lanes.get(peer, ())
        return lanes[-1].send(ack) if lanes else False

    def _ack_over_stream(self, peer: str, ack: pb.Ack, *, urgent: bool) -> bool:
        streams = self._inbound_streams.get(peer, ())
        return streams[-1].send(ack, urgent=urgent) if streams else False

    def _sign(self, message: pb.Ack | pb.CacheRequest) -> None:
        sender = self._sender()
        if self._signature is None or self._signature[0] != sender:
            self._signature = (sender, codec.sender_to_wire(sender))
        message.sender.CopyFrom(self._signature[1])
