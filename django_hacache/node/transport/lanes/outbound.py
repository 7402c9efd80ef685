"""The lane: a framed TCP connection beside the gRPC stream that a node opens to a peer, for what must be quick.

A round trip over gRPC costs several times what the whole rest of a write does. So nodes that speak the extensions
keep this second connection, with the TLS of the first one; LeaderInfo announces its port, which holds for as long as
the stream does. The opener writes CacheRequests, the acceptor Acks, as on the stream. State transfer stays on the
stream: it would be in the way. While a lane is down everything takes the stream. This is the opener's end, server.py
the other one. Knows no meaning of any message.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from typing import TYPE_CHECKING, Protocol

from django_hacache.node.log_throttle import LogThrottle
from django_hacache.node.transport.authentication import credentials, handshakes, proof
from django_hacache.node.transport.authentication.credentials import EXTENSION_VERSION
from django_hacache.node.transport.authentication.keyring import Keyring
from django_hacache.node.transport.authentication.roster import Roster
from django_hacache.node.transport.lanes.passage import Passage
from django_hacache.node.transport.lanes.pipe import Pipe
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from django_hacache.conf import ClusterConfig, Host
    from django_hacache.node.transport.authentication.tls import Secured

logger = logging.getLogger("django_hacache.node")

CONNECT_S = 5.0
# The longest message of a peer that has yet to prove what it is: its greeting.
OPENING_BYTES = 128 << 10
RETRY_S = 0.25
RETRY_S_MAX = 5.0


class LaneEvents(Protocol):
    """What an OutboundLane reports."""

    def lane_lost(self, addr: str) -> None: ...
    def peer_answered(self, addr: str, ack: pb.Ack) -> None: ...


class _OutboundPipe(Pipe):
    def __init__(
        self,
        limit: int,
        token: str,
        secured: Secured | None,
        hello: pb.LaneHello,
        answered: Callable[[pb.Ack], None],
        throttle: LogThrottle,
    ) -> None:
        super().__init__(limit, OPENING_BYTES, throttle)
        self._token = token
        self._addr = hello.peer
        self._hello = hello.SerializeToString()
        self._challenge = b""
        self._heard = False
        self._secured = secured
        self._answered = answered
        self.up = self.was_up = False

    def peer(self) -> str:
        return self._addr

    def begin(self) -> None:
        """Say who opens the lane, to whoever answers there."""
        self.write(self._hello)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._secured is not None and not self._heard:
            # In TLS 1.3 a server judges the client's certificate after the client's handshake is done.
            self._say_no(handshakes.why_silent(self._secured, exc))
        self.up = False
        super().connection_lost(exc)

    def _say_no(self, reason: str) -> None:
        self._throttle.say(reason, f"no lane to {self._addr}: {reason}")

    def abort(self) -> None:
        self.up = False
        super().abort()

    def received(self, payload: bytes) -> None:
        ack = pb.Ack.FromString(payload)
        self._heard = True
        if self.up:
            self._answered(ack)
        elif ack.lane_challenge.nonce and not self._challenge:
            self._challenge = ack.lane_challenge.nonce
            said = proof.proof(self._token, proof.OPENER, self._hello, self._challenge)
            self.write(pb.LaneProof(proof=said).SerializeToString())
        elif reason := self._flaw_of(ack):
            self._say_no(reason)
            self.abort()
        else:
            self._frames.payload_bytes_max = credentials.RECEIVE_BYTES
            self.up = self.was_up = True

    def _flaw_of(self, ack: pb.Ack) -> str:
        """Why this is not how the peer ends the opening of a lane; empty where it is."""
        if ack.error.error:
            return ack.error.error[:200]
        if ack.mgmt_ack.leader_info.node_addr != self._addr:
            return "another node answers there"
        tokens = (self._token,)
        proven = proof.proven(tokens, ack.lane_proof, proof.ACCEPTOR, self._hello, self._challenge)
        return "who answers there does not have our token" if proven is None else ""


class OutboundLane:
    """The opener's end of the lane to one peer: opened once its port is known, and again for ever."""

    def __init__(
        self,
        config: ClusterConfig,
        me: Host,
        peer: Host,
        events: LaneEvents,
        rng: Random,
        roster: Roster | None = None,
        keyring: Keyring | None = None,
    ) -> None:
        self.addr = peer.addr
        self._config = config
        self._peer = peer
        self._events = events
        self._rng = rng
        self._me = me.addr
        self._keyring = keyring or Keyring(config)
        self._hosts = (roster or Roster(config)).digest
        self._throttle = LogThrottle(logger)
        self._port = 0
        self._announced = asyncio.Event()
        # Set when the port was announced: the peer is up, and there is nothing to wait for.
        self._is_there = asyncio.Event()
        self._pipe: _OutboundPipe | None = None
        self._passage = Passage()
        self._task: asyncio.Task[None] | None = None

    @property
    def up(self) -> bool:
        return self._pipe is not None and self._pipe.up

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"lane {self.addr}")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._pipe is not None:
            self._pipe.abort()

    def announced(self, port: int) -> None:
        """The peer has told on which port it takes lanes; 0, or what is no port: on none, or it is gone.

        Who listens there once it is gone may be anybody. A lane that is up stays so.
        """
        port = port if port < 1 << 16 else 0
        self._port = port
        if port:
            self._announced.set()
            self._is_there.set()
        else:
            self._announced.clear()

    @property
    def lively(self) -> bool:
        return self._pipe is not None and self._pipe.lively

    def send(self, request: bytes) -> bool:
        """Send an encoded request; False where the lane is down and it has to go another way."""
        return self.up and self._pipe is not None and self._pipe.write(request)

    def send_append(self, place: tuple[int, int], request: bytes) -> bool:
        """The same for an Append: one that is on its way over this connection is not put on it again."""
        pipe = self._pipe
        if pipe is None or not self.up:
            return False
        if place == self._passage.place and self._passage.goes_on(pipe.taken):
            return True
        start = pipe.written
        if not pipe.write(request):
            return False
        self._passage.begins(place, start, pipe.written)
        return True

    def append_moves(self) -> bool:
        """Whether more of the latest Append was taken since this was asked last."""
        return self._pipe is not None and self.up and self._passage.moves(self._pipe.taken)

    async def _run(self) -> None:
        wait = RETRY_S
        while True:
            await self._announced.wait()
            self._is_there.clear()
            pipe = self._pipe = await self._connect()
            if pipe is not None:
                await pipe.closed
                self._passage.lost()
                if pipe.was_up:
                    wait = RETRY_S
                    self._is_there.clear()
                    self._events.lane_lost(self.addr)
            told = await self._is_told_within(wait * self._rng.uniform(0.5, 1.5))
            wait = RETRY_S if told else min(wait * 2, RETRY_S_MAX)

    async def _is_told_within(self, seconds: float) -> bool:
        """Whether the peer says that it is there; it may have come back long before the next try."""
        try:
            async with asyncio.timeout(seconds):
                await self._is_there.wait()
        except TimeoutError:
            return False
        return True

    async def _connect(self) -> _OutboundPipe | None:
        limit, secured = self._config.buf_client << 20, self._keyring.secured
        hello = pb.LaneHello(
            addr=self._me,
            hosts=self._hosts,
            version=EXTENSION_VERSION,
            peer=self.addr,
            port=self._port,
            nonce=proof.nonce(),
        )
        answered = lambda ack: self._events.peer_answered(self.addr, ack)  # noqa: E731
        try:
            async with asyncio.timeout(CONNECT_S):
                transport, pipe = await asyncio.get_running_loop().create_connection(
                    lambda: _OutboundPipe(
                        limit, self._keyring.shown, secured, hello, answered, self._throttle
                    ),
                    self._peer.name,
                    hello.port,
                    ssl=None if secured is None else secured.client_context,
                    server_hostname=None if secured is None else secured.expected_name,
                )
        except (ssl.SSLError, ConnectionResetError, ConnectionAbortedError) as error:
            self._say_no(handshakes.why(error))
        except (OSError, UnicodeError) as error:  # TimeoutError, too; UnicodeError: a name that cannot be one
            logger.debug("no lane to %s on port %d: %s", self.addr, hello.port, error)
        else:
            flaw = "" if secured is None else handshakes.flaw_of_server(transport, secured.expected_name)
            if not flaw:
                pipe.begin()
                return pipe
            pipe.abort()
            self._say_no(flaw)
        return None

    def _say_no(self, reason: str) -> None:
        self._throttle.say(reason, f"no lane to {self.addr}: {reason}")
