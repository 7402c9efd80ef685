"""LaneServer: gives the peers their lanes, once they have proved that they have the token. Knows no messages."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from django_hacache.exceptions import ConfigurationError
from django_hacache.node.log_throttle import LogThrottle
from django_hacache.node.transport.authentication import certificate_names, credentials, proof
from django_hacache.node.transport.authentication.credentials import EXTENSION_VERSION
from django_hacache.node.transport.authentication.guesses import Guesses
from django_hacache.node.transport.authentication.keyring import Keyring
from django_hacache.node.transport.authentication.roster import Roster
from django_hacache.node.transport.lanes.arrivals import Arrivals
from django_hacache.node.transport.lanes.pipe import Pipe
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from django_hacache.conf import ClusterConfig
    from django_hacache.node.transport.lanes.arrivals import Stranger

logger = logging.getLogger("django_hacache.node")

HELLO_BYTES = 4096
HELLO_S = 5.0


class LaneServerEvents(Protocol):
    """What a LaneServer reports."""

    def greeting(self) -> pb.Ack: ...
    def lane_opened(self, lane: InboundLane) -> None: ...
    def lane_closed(self, lane: InboundLane) -> None: ...
    def lane_request(self, lane: InboundLane, request: pb.CacheRequest) -> None: ...


class InboundLane(Pipe):
    """The acceptor's end. It takes nothing before the opener has proved that it has the token, and is a peer."""

    def __init__(self, server: LaneServer, arrival: Stranger | None = None) -> None:
        super().__init__(server.limit, HELLO_BYTES, server.throttle)
        self._server = server
        self._arrival = arrival
        self._deadline: asyncio.TimerHandle | None = None
        self._hello = self._challenge = b""
        self.addr = ""

    def peer(self) -> str:
        return self.addr or "a stranger"

    def host(self) -> str:
        """Where the opener is."""
        told = None if self._transport is None else self._transport.get_extra_info("peername")
        return told[0] if told else "?"

    def certificate(self) -> Mapping[str, Any]:
        """What the opener showed in its TLS handshake."""
        tls = None if self._transport is None else self._transport.get_extra_info("ssl_object")
        return {} if tls is None else tls.getpeercert() or {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._server.arrivals.met(self, before=self._arrival)
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
        if self._server.guesses.barred(self.host()):
            self._refuse(hello, "too many wrong tokens came from its address")
            return
        self._hello, self._challenge = payload, proof.nonce()
        self.send(pb.Ack(lane_challenge=pb.LaneChallenge(nonce=self._challenge)))

    def _let_in(self, hello: pb.LaneHello, given: bytes) -> None:
        token = self._server.proven_by(given, self._hello, self._challenge)
        if token is None:
            self._server.guesses.wrong(self.host())
        refusal = "the token is wrong" if token is None else self._server.refusal_of(hello)
        refusal = refusal or self._server.flaw_of_certificate(self, hello.addr)
        if token is None or refusal:
            self._refuse(hello, refusal)
            return
        assert self._deadline is not None, "a connection without a deadline was not welcome"
        self._deadline.cancel()
        self.addr = hello.addr
        self._server.guesses.right(self.host())
        self._frames.payload_bytes_max = credentials.RECEIVE_BYTES
        greeting = self._server.events.greeting()
        greeting.lane_proof = proof.proof(token, proof.ACCEPTOR, self._hello, self._challenge)
        self.send(greeting)
        self._server.entered(self)

    def _refuse(self, hello: pb.LaneHello, refusal: str) -> None:
        self._throttle.say(refusal, f"a lane was refused to {hello.addr[:80]!r} at {self.host()}: {refusal}")
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
        events: LaneServerEvents,
        roster: Roster | None = None,
        keyring: Keyring | None = None,
        guesses: Guesses | None = None,
    ) -> None:
        self._config = config
        self._keyring = keyring or Keyring(config)
        self.guesses = guesses or Guesses()
        self._me = config.me().addr
        self._peers = peers
        self._roster = roster or Roster(config)
        self.events = events
        self.limit = config.buf_client << 20
        self.throttle = LogThrottle(logger)
        self.port = 0
        self.arrivals = Arrivals(self._keyring, self.throttle, lambda arrival: InboundLane(self, arrival))
        self._lanes: set[InboundLane] = set()

    def start(self, host: str | None) -> None:
        """Listen on one address, or on every interface where it is None.

        Raises ConfigurationError where CACHE_LANE_PORT is taken.
        """
        try:
            self.port = self.arrivals.listen(host, self._config.lane_port or 0)
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on port {self._config.lane_port} (CACHE_LANE_PORT): {error.strerror or error}"
            ) from error

    async def close(self) -> None:
        await self.arrivals.close()
        for lane in tuple(self._lanes):
            lane.abort()

    def flaw_of_certificate(self, lane: InboundLane, addr: str) -> str:
        """Why who opens the lane is not `addr`, by the certificate it shows; empty where it is."""
        return self._keyring.flaw_of_member(addr, certificate_names.of_peer(lane.certificate()))

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
        self.arrivals.forget(lane)
        for former in [one for one in self._lanes if one.addr == lane.addr]:
            former.abort()  # a node has one lane to another
        self._lanes.add(lane)
        self.events.lane_opened(lane)

    def left(self, lane: InboundLane) -> None:
        self.arrivals.forget(lane)
        if lane in self._lanes:
            self._lanes.discard(lane)
            self.events.lane_closed(lane)
