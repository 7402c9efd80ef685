"""The lanes that the peers open to this node: who gets one. Knows no meaning of any message."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import TYPE_CHECKING, Protocol

from django_hacache.exceptions import ConfigurationError
from django_hacache.node import credentials, proof
from django_hacache.node.complaints import Complaints
from django_hacache.node.credentials import EXTENSION_VERSION
from django_hacache.node.keyring import Keyring
from django_hacache.node.pipe import Pipe
from django_hacache.node.roster import Roster
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from django_hacache.conf import ClusterConfig

logger = logging.getLogger("django_hacache.node")

HELLO_BYTES = 4096
HELLO_S = 5.0
# A stranger costs a file descriptor until it has said who it is; there are never more of them than this.
STRANGERS_MAX = 128


class AcceptorEvents(Protocol):
    """What the acceptor of lanes needs from the runtime."""

    def greeting(self) -> pb.Ack: ...
    def lane_opened(self, lane: InboundLane) -> None: ...
    def lane_closed(self, lane: InboundLane) -> None: ...
    def lane_request(self, lane: InboundLane, request: pb.CacheRequest) -> None: ...


class InboundLane(Pipe):
    """The acceptor's end. Nothing is taken before the opener has proved to have the token, and is one of the peers."""

    def __init__(self, server: LaneServer) -> None:
        super().__init__(server.limit, HELLO_BYTES, server.complaints)
        self._server = server
        self._deadline: asyncio.TimerHandle | None = None
        self._hello = self._challenge = b""
        self.addr = ""

    def peer(self) -> str:
        return self.addr or "a stranger"

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if not self._server.welcomes(self):
            self.abort()
            return
        self._deadline = self._loop.call_later(HELLO_S, self.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._deadline is not None:
            self._deadline.cancel()
        self._server.left(self)

    def received(self, payload: bytes) -> None:
        if self.addr:
            self._server.events.lane_request(self, pb.CacheRequest.FromString(payload))
        elif not self._hello:
            self._ask_for_proof(payload)
        else:
            self._let_in(pb.LaneHello.FromString(self._hello), pb.LaneProof.FromString(payload).proof)

    def _ask_for_proof(self, payload: bytes) -> None:
        hello = pb.LaneHello.FromString(payload)
        if hello.version != EXTENSION_VERSION:
            # It may mean something else by all the rest. What differs exactly the stream has said.
            self._refuse(hello, "it is of another release of django_hacache")
            return
        self._hello, self._challenge = payload, proof.nonce()
        self.send(pb.Ack(lane_challenge=pb.LaneChallenge(nonce=self._challenge)))

    def _let_in(self, hello: pb.LaneHello, given: bytes) -> None:
        token = self._server.proven_by(given, self._hello, self._challenge)
        refusal = "the token is wrong" if token is None else self._server.refusal_of(hello)
        if token is None or refusal:
            self._refuse(hello, refusal)
            return
        assert self._deadline is not None, "a connection without a deadline was not welcome"
        self._deadline.cancel()
        self.addr = hello.addr
        self._frames.payload_bytes_max = credentials.RECEIVE_BYTES
        greeting = self._server.events.greeting()
        greeting.lane_proof = proof.proof(token, proof.ACCEPTOR, self._hello, self._challenge)
        self.send(greeting)
        self._server.entered(self)

    def _refuse(self, hello: pb.LaneHello, refusal: str) -> None:
        self._complaints.say(refusal, f"a lane was refused to {hello.addr[:80]!r}: {refusal}")
        self.send(pb.Ack(error=pb.Error(error=refusal)))
        if self._transport is not None:
            self._transport.close()

    def send(self, ack: pb.Ack) -> bool:
        return self.write(ack.SerializeToString())


class LaneServer:
    """Accepts the lanes that the peers open."""

    def __init__(
        self,
        config: ClusterConfig,
        peers: frozenset[str],
        events: AcceptorEvents,
        roster: Roster | None = None,
        keyring: Keyring | None = None,
    ) -> None:
        self._config = config
        self._keyring = keyring or Keyring(config)
        self._me = config.me().addr
        self._peers = peers
        self._roster = roster or Roster(config)
        self.events = events
        self.limit = config.buf_client << 20
        self.complaints = Complaints(logger)
        self.port = 0
        self._server: asyncio.Server | None = None
        self._strangers: set[InboundLane] = set()
        self._lanes: set[InboundLane] = set()

    async def start(self, host: str | None) -> None:
        """Listen on one address, or on every interface where it is None.

        Raises ConfigurationError where CACHE_LANE_PORT is taken.
        """
        tls = self._config.tls
        port = self._config.lane_port or 0
        try:
            where = {"host": host, "port": port} if host else {"sock": _on_every_interface(port)}
            self._server = await asyncio.get_running_loop().create_server(
                lambda: InboundLane(self),
                **where,
                ssl=None if tls is None else credentials.server_context(tls),
                ssl_handshake_timeout=None if tls is None else HELLO_S,
            )
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on port {self._config.lane_port} (CACHE_LANE_PORT): {error.strerror or error}"
            ) from error
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for lane in (*self._strangers, *self._lanes):
            lane.abort()
        await self._server.wait_closed()

    def welcomes(self, lane: InboundLane) -> bool:
        """Whether one more stranger may say who it is."""
        if len(self._strangers) >= STRANGERS_MAX:
            return False
        self._strangers.add(lane)
        return True

    def proven_by(self, given: bytes, hello: bytes, challenge: bytes) -> str | None:
        """The node token that an opener has proved to have; None where it has none of ours."""
        return proof.proven(self._keyring.node_tokens, given, proof.OPENER, hello, challenge)

    def refusal_of(self, hello: pb.LaneHello) -> str:
        """Why the sender of `hello`, which has the token, gets no lane; empty where it gets one."""
        if hello.addr not in self._peers:
            return "its address is not among the HA_HOSTS of this node"
        if hello.peer != self._me or hello.port != self.port:
            return "it means another node, or one that was here before"
        return "" if hello.hosts in ("", self._roster.digest) else "it has another HA_HOSTS than this node"

    def entered(self, lane: InboundLane) -> None:
        self._strangers.discard(lane)
        self._lanes.add(lane)
        self.events.lane_opened(lane)

    def left(self, lane: InboundLane) -> None:
        self._strangers.discard(lane)
        if lane in self._lanes:
            self._lanes.discard(lane)
            self.events.lane_closed(lane)


def _on_every_interface(port: int) -> socket.socket:
    """One socket for IPv6 and IPv4, as gRPC's: two would each have a free port of their own."""
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):  # IPv6 may be switched off
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("0.0.0.0", port))  # noqa: S104 - as the stream's port
