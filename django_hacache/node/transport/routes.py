"""Routes: chooses the connection that a message to a peer takes.

There are up to four: the stream and the lane that this node opened, which carry requests, and those that the peer
opened, which carry Acks. A message takes the quickest one that is up. A heartbeat takes two, and the first copy counts.
What a message means is not known here.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, TypeVar

from django_hacache.consensus import messages as core_messages
from django_hacache.node.encoding import codec, log_codec, signatures
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django_hacache.node.transport.lanes.outbound import OutboundLane
    from django_hacache.node.transport.lanes.server import InboundLane
    from django_hacache.node.transport.streams.inbound import InboundStream
    from django_hacache.node.transport.streams.outbound import OutboundStream

HEARTBEATS = (core_messages.Ping, core_messages.Pong, core_messages.Probe, core_messages.ProbeReply)
# No two of these are equal.
NUMBERED = (core_messages.Ping, core_messages.Pong)
# One way may be several heartbeats slower than the other: then a copy comes behind later heartbeats.
COPIES_MAX = 16
AnyMessage = TypeVar("AnyMessage", pb.Ack, pb.CacheRequest)


class Routes:
    """Signs and sends what the core and the other rooms have for the peers."""

    def __init__(
        self,
        addr: str,
        streams: Mapping[str, OutboundStream],
        lanes: Mapping[str, OutboundLane],
        sender: Callable[[], core_messages.Sender],
    ) -> None:
        self._addr = addr
        self._streams = streams
        self._lanes = lanes
        self._sender = sender
        self._signature: tuple[core_messages.Sender, bytes] | None = None
        # The latest Append as it was sent, and by whom.
        self._appended: tuple[core_messages.Append, core_messages.Sender, bytes] | None = None
        # What each peer opened, the latest last: answers go there.
        self._inbound_streams: dict[str, list[InboundStream]] = {}
        self._inbound_lanes: dict[str, list[InboundLane]] = {}
        # Of each peer and kind the latest few, the newest first.
        self._heartbeats: dict[
            tuple[str, type], deque[tuple[core_messages.Sender, core_messages.Message]]
        ] = defaultdict(lambda: deque(maxlen=COPIES_MAX))

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

    # receiving

    def is_second_copy(self, sender: core_messages.Sender, message: core_messages.Message) -> bool:
        """Whether this heartbeat has come already, by the other way: it was answered then."""
        if not isinstance(message, NUMBERED):
            return False
        latest, copy = self._heartbeats[sender.addr, type(message)], (sender, message)
        if copy in latest:
            return True
        latest.appendleft(copy)
        return False

    # sending

    def send(self, peer: str, message: core_messages.Message) -> None:
        """Send a message of the core. It may be lost: the protocol sends again what matters."""
        if isinstance(message, core_messages.Append):
            self._send_append(peer, message)
        elif isinstance(message, HEARTBEATS):
            self._send_heartbeat(peer, message)
        else:
            self._send_either_way(peer, message)

    def _send_either_way(self, peer: str, message: core_messages.Message) -> None:
        ack = codec.to_ack(message, self._addr)
        if ack is not None and self._ack_over_lane(peer, self._encoded(ack)):
            return
        request = codec.encoded_request(message, self._addr)
        if request is not None and self._lanes[peer].send(request + self._signature_bytes()):
            return
        if ack is not None and self._ack_over_stream(peer, self._signed(ack)):
            return
        if request is not None:
            self._streams[peer].send(self._signed(pb.CacheRequest.FromString(request)))

    def _send_append(self, peer: str, append: core_messages.Append) -> None:
        """The same message often goes to several peers: it is encoded once."""
        sender = self._sender()
        if self._appended is None or self._appended[0] is not append or self._appended[1] != sender:
            self._appended = (append, sender, log_codec.encoded_append(append) + self._signature_bytes())
        _, _, encoded = self._appended
        place = (append.term, append.prev_index)
        if self._lanes[peer].send_append(place, encoded):
            self._streams[peer].forget_append()
        elif self._streams[peer].connected:
            request = pb.CacheRequest.FromString(encoded)
            self._streams[peer].send_append(place, request, len(encoded))

    def append_moves(self, peer: str) -> bool:
        """Whether a connection to the peer has taken more of an Append since this was asked last."""
        return self._lanes[peer].append_moves() or self._streams[peer].append_moves()

    def _send_heartbeat(self, peer: str, message: core_messages.Message) -> None:
        """Over two connections, the lanes where both work; over both streams, too, where one is down or silent."""
        ack, request = codec.to_ack(message, self._addr), codec.to_request(message, self._addr)
        assert ack is not None and request is not None, "a heartbeat travels both ways"  # noqa: PT018
        lane = self._lanes[peer]
        over_own = lane.send(self._encoded(request)) and lane.lively
        over_theirs = self._ack_over_lane(peer, self._encoded(ack)) and self._inbound_lanes[peer][-1].lively
        if not (over_own and over_theirs):
            self._streams[peer].send(self._signed(request), urgent=True)
            self._ack_over_stream(peer, self._signed(ack), urgent=True)

    def send_request(self, peer: str, request: pb.CacheRequest) -> bool:
        """Send over the stream what may be large or slow; False where it is down or full."""
        return self._streams[peer].send(self._signed(request))

    def send_ack(self, peer: str, ack: pb.Ack) -> bool:
        """Answer over the stream that the peer opened; False where there is none."""
        return self._ack_over_stream(peer, self._signed(ack))

    def _ack_over_lane(self, peer: str, ack: bytes) -> bool:
        lanes = self._inbound_lanes.get(peer)
        return lanes[-1].write(ack) if lanes else False

    def _ack_over_stream(self, peer: str, ack: pb.Ack, *, urgent: bool = False) -> bool:
        streams = self._inbound_streams.get(peer, ())
        return streams[-1].send(ack, urgent=urgent) if streams else False

    # signing

    def _encoded(self, message: pb.Ack | pb.CacheRequest) -> bytes:
        """The message, signed. A message is the sum of its fields: the signature is encoded once for all."""
        return message.SerializeToString() + self._signature_bytes()

    def _signed(self, message: AnyMessage) -> AnyMessage:
        message.ClearField("sender")
        message.MergeFromString(self._signature_bytes())
        return message

    def _signature_bytes(self) -> bytes:
        """The field `sender`, which has one number in requests and answers."""
        sender, known = self._sender(), self._signature
        if known is None or known[0] != sender:
            known = self._signature = sender, signatures.encoded_sender(sender)
        return known[1]
