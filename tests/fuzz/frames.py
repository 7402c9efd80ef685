"""Bytes on the sockets: what a worker writes to its node's, and what anybody writes to a lane, in whatever pieces.

A connection may end of it, by its own rules. Nothing else may come of it.
"""

from __future__ import annotations

import asyncio
import logging

from django_hacache.link.framing import HEADER_BYTES, frame
from django_hacache.link.server import _Connection
from django_hacache.node import proof
from django_hacache.node.acceptor import InboundLane, LaneServer
from django_hacache.node.complaints import Complaints
from django_hacache.node.credentials import EXTENSION_VERSION
from django_hacache.node.lane import _OutboundPipe
from django_hacache.wire import cache_pb2 as pb

from .life import play
from .world import World, addr_of, config_of

WORKER, STRANGER, PEER, ANSWERER, CLOSE = range(5)
KINDS = 5
REQUEST_BYTES = 4096
CONFIG = config_of(3)


class Transport:
    """As asyncio's, of a socket that takes everything."""

    def __init__(self, protocol):
        self.protocol = protocol
        self.open = True

    def get_extra_info(self, name):
        return Socket()

    def get_write_buffer_size(self):
        return 0

    def write(self, data):
        self.written = bytes(data)

    def abort(self):
        if self.open:
            self.open = False
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    close = abort


class Socket:
    def fileno(self):
        return -1


class Ends:
    """The four ends that read frames, each with a connection of its own."""

    def __init__(self, world):
        self.world = world
        self.server = LaneServer(CONFIG, frozenset({addr_of(1), addr_of(2)}), world.node)
        self.ends = {}

    def end(self, kind):
        """The connection of that kind that is open, a new one where the last one has ended."""
        protocol, transport = self.ends.get(kind, (None, None))
        if transport is None or not transport.open:
            protocol = self.made(kind)
            transport = Transport(protocol)
            if kind == WORKER:
                protocol._transport = transport
            else:
                protocol.connection_made(transport)
            if kind == PEER:
                enter(protocol, transport)
            if kind == ANSWERER:
                protocol.up = True
            self.ends[kind] = protocol, transport
        return protocol

    def made(self, kind):
        node = self.world.node
        if kind == WORKER:
            return _Connection(self.handle, lambda reason, message: None, REQUEST_BYTES, set())
        if kind in (STRANGER, PEER):
            return InboundLane(self.server)
        complaints = Complaints(logging.getLogger("fuzz"))
        answered = lambda ack: node.peer_answered(addr_of(1), ack)
        hello = pb.LaneHello(addr=addr_of(0), peer=addr_of(1))
        return _OutboundPipe(1 << 20, CONFIG.auth_token, None, hello, answered, complaints)

    def handle(self, request, reply):
        self.world.node._from_worker(request, reply)


def enter(protocol, transport):
    """Prove to have the token, as a peer does."""
    hello = pb.LaneHello(
        addr=addr_of(1), peer=addr_of(0), nonce=b"n", version=EXTENSION_VERSION
    ).SerializeToString()
    protocol.data_received(frame(hello))
    challenge = pb.Ack.FromString(transport.written[HEADER_BYTES:]).lane_challenge.nonce
    said = proof.proof(CONFIG.auth_token, proof.OPENER, hello, challenge)
    protocol.data_received(frame(pb.LaneProof(proof=said).SerializeToString()))
    assert protocol.addr == addr_of(1)


def run(data: bytes) -> None:
    ends = None

    def step(world, kind, who, payload):
        nonlocal ends
        if ends is None:
            ends = Ends(world)
        kind %= KINDS
        if kind == CLOSE:
            for _, transport in ends.ends.values():
                transport.abort()
            ends.ends.clear()
            return
        if who & 1 and len(payload) >= HEADER_BYTES:
            payload = frame(payload)
        cut = len(payload) * (who >> 1) // 8
        ends.end(kind).data_received(payload[:cut])
        if ends.ends[kind][1].open:
            ends.ends[kind][0].data_received(payload[cut:])

    play(data, lambda told, directory: World(told, directory, "member"), step)
