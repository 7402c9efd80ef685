"""Bytes on the sockets: what a worker writes to its node's, and what anybody writes to a lane, in whatever pieces.

A connection may end of it, by its own rules. Nothing else may come of it.
"""

from __future__ import annotations

import contextlib
import socket

from django_hacache.link.framing import HEADER_BYTES, frame
from django_hacache.link.server import LinkServer
from django_hacache.node.transport.authentication import proof
from django_hacache.node.transport.authentication.credentials import EXTENSION_VERSION
from django_hacache.node.transport.lanes.server import LaneServer
from django_hacache.wire import cache_pb2 as pb

from .life import play
from .world import World, addr_of, config_of

WORKER, STRANGER, PEER, CLOSE = range(4)
KINDS = 4
REQUEST_BYTES = 4096
CONFIG = config_of(3)


class Ends:
    """The node's socket and its lanes' port, and a connection of each kind to them."""

    def __init__(self, world):
        self.world = world
        self.link = LinkServer(
            world.directory / "fuzzed.sock", world.node._from_worker, max_request_bytes=REQUEST_BYTES
        )
        self.lanes = LaneServer(CONFIG, frozenset({addr_of(1), addr_of(2)}), world.node.transport)
        self.open = {}

    async def start(self):
        await self.link.start()
        self.lanes.start("127.0.0.1")
        self.world.closing += [self.close, self.link.close, self.lanes.close]

    async def close(self):
        for one in self.open.values():
            one.close()
        self.open.clear()
        await self.world.turn()

    async def connection(self, kind):
        """The connection of that kind that is open, a new one where the last one has ended."""
        known = self.open.get(kind)
        if known is not None and not ended(known):
            return known
        if kind == WORKER:
            made = socket.socket(socket.AF_UNIX)
            made.connect(str(self.world.directory / "fuzzed.sock"))
        else:
            made = socket.create_connection(("127.0.0.1", self.lanes.port))
        made.setblocking(False)
        self.open[kind] = made
        await self.world.turn()
        if kind == PEER:
            await self.enter(made)
        return made

    async def enter(self, connection):
        """Prove to have the token, as a peer does."""
        hello = pb.LaneHello(
            addr=addr_of(1), peer=addr_of(0), port=self.lanes.port, nonce=b"n", version=EXTENSION_VERSION
        ).SerializeToString()
        connection.sendall(frame(hello))
        await self.world.turn()
        heard = connection.recv(1 << 16)
        challenge = pb.Ack.FromString(heard[HEADER_BYTES:]).lane_challenge.nonce
        said = proof.proof(CONFIG.auth_token, proof.OPENER, hello, challenge)
        connection.sendall(frame(pb.LaneProof(proof=said).SerializeToString()))
        await self.world.turn()


def ended(connection):
    """Whether the other side has hung up. Reads what there is."""
    with contextlib.suppress(BlockingIOError):
        try:
            while connection.recv(1 << 16):
                pass
        except OSError as error:
            if isinstance(error, BlockingIOError):
                raise
        connection.close()
        return True
    return False


def run(data: bytes) -> None:
    ends = None

    async def step(world, number, who, payload):
        nonlocal ends
        if ends is None:
            ends = Ends(world)
            await ends.start()
        kind = number % KINDS
        if kind == CLOSE:
            await ends.close()
            return
        if who & 1:
            payload = frame(payload)
        connection = await ends.connection(kind)
        cut = len(payload) * (who >> 1) // 8
        for piece in (payload[:cut], payload[cut:]):
            with contextlib.suppress(OSError):  # it was hung up on
                connection.sendall(piece)
            await world.turn()

    play(data, lambda told, directory: World(told, directory, "member"), step)
