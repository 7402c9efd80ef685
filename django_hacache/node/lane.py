"""The lane: a framed TCP connection beside the gRPC stream that a node opens to a peer, for what must be quick.

A round trip over gRPC costs several times what the whole rest of a write does. So nodes that speak the extensions
keep this second connection, with the token and the TLS of the first one; LeaderInfo announces its port. The opener
writes CacheRequests, the acceptor Acks, as on the stream. State transfer stays on the stream: it would be in the way.
While a lane is down everything takes the stream. Knows no meaning of any message.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hmac
import logging
import socket
import ssl
import sys
import termios
from typing import TYPE_CHECKING, Protocol

from google.protobuf.message import DecodeError

from django_hacache.exceptions import ConfigurationError, LinkError
from django_hacache.link.framing import FrameReader, Oversize, frame
from django_hacache.node import credentials
from django_hacache.node.complaints import Complaints
from django_hacache.node.credentials import EXTENSION_VERSION
from django_hacache.node.passage import Passage
from django_hacache.node.roster import Roster
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from django_hacache.conf import ClusterConfig, Host

logger = logging.getLogger("django_hacache.node")

HELLO_BYTES = 4096
HELLO_S = 5.0
CONNECT_S = 5.0
# A stranger costs a file descriptor until it has said who it is; there are never more of them than this.
STRANGERS_MAX = 128
KEEPALIVE_S = 0.25
# While heartbeats arrive, something comes several times in this time.
LIVELY_S = 0.3
# A lane on which nothing came for so long is of no use, whatever the reason: the stream takes over.
SILENCE_S = 1.0
# In the middle of a message that costs so many bytes a second time it is given longer: TCP that has lost much at once
# pauses for twice as long each time.
STALLED_S = 5.0
COSTLY_BYTES = 64 << 10
RETRY_S_MAX = 5.0


class LaneEvents(Protocol):
    """What the lanes need from the runtime."""

    def greeting(self) -> pb.Ack: ...
    def lane_opened(self, lane: InboundLane) -> None: ...
    def lane_closed(self, lane: InboundLane) -> None: ...
    def lane_request(self, lane: InboundLane, request: pb.CacheRequest) -> None: ...
    def lane_lost(self, addr: str) -> None: ...
    def peer_answered(self, addr: str, ack: pb.Ack) -> None: ...


class _Pipe(asyncio.Protocol):
    """One connection: frames in both directions, and the certainty that the other side still is there."""

    def __init__(self, limit: int, frame_bytes: int, complaints: Complaints) -> None:
        self._limit = limit
        self._complaints = complaints
        self._frames = FrameReader(frame_bytes)
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._heard_at = 0.0
        self._said = False
        self._large = 0  # bytes of the message that found none waiting: it may be larger than the limit
        self._written = 0
        self.closed = self._loop.create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._heard_at = self._loop.time()
        self._timer = self._loop.call_later(KEEPALIVE_S, self._keep_alive)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        try:
            for payload in self._frames.feed(data):
                if self._transport is None:
                    return
                if isinstance(payload, Oversize):
                    raise LinkError(f"a frame of {int(payload)} bytes")
                if payload:
                    self.received(payload)
        except (LinkError, DecodeError) as error:
            self._give_up("bytes", f"its bytes are no message ({self.peer()}): {error}")

    def peer(self) -> str:
        """Who is at the other end, for the log."""
        raise NotImplementedError

    def received(self, payload: bytes) -> None:
        raise NotImplementedError

    def write(self, payload: bytes) -> bool:
        """Send a payload; False where the lane is down or full. One that the other side does not read ends now."""
        transport = self._transport
        if transport is None:
            return False
        waiting = transport.get_write_buffer_size()
        if waiting and waiting + len(payload) > self._limit:
            if waiting <= self._large:
                return False  # one message alone is more than the limit, and takes its time
            self._give_up("unread", f"{self.peer()} does not read it")
            return False
        self._said = True
        framed = frame(payload)
        if not waiting:
            self._large = len(framed)
        self._written += len(framed)
        transport.write(framed)
        return True

    @property
    def written(self) -> int:
        """The bytes that this end has put on the connection so far."""
        return self._written

    @property
    def taken(self) -> int:
        """Of those, the ones that have left this host: neither the loop nor the kernel keeps them."""
        if self._transport is None:
            return 0
        return self._written - self._transport.get_write_buffer_size() - _queued_by_kernel(self._transport)

    @property
    def lively(self) -> bool:
        """Whether something came a moment ago. A lane that lost a packet is silent for a while."""
        return self._loop.time() - self._heard_at < LIVELY_S

    def _keep_alive(self) -> None:
        if self._transport is None:
            return
        patience_s = STALLED_S if self._frames.begun >= COSTLY_BYTES else SILENCE_S
        if self._loop.time() - self._heard_at > patience_s:
            self._give_up("silence", f"nothing came from {self.peer()} for {patience_s:.1f} s", logging.INFO)
            return
        if not self._said:
            self._transport.write(frame(b""))
            self._written += len(frame(b""))
        self._said = False
        self._timer = self._loop.call_later(KEEPALIVE_S, self._keep_alive)

    def _give_up(self, reason: str, why: str, level: int = logging.WARNING) -> None:
        self._complaints.say(f"{self.peer()} {reason}", f"a lane ended: {why}", level=level)
        self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None


def _queued_by_kernel(transport: asyncio.Transport) -> int:
    """Bytes that the other host has not acknowledged yet."""
    try:
        answer = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:
        return 0  # a kernel that does not say: what left the loop counts
    return int.from_bytes(answer, sys.byteorder)


class InboundLane(_Pipe):
    """The acceptor's end. Nothing is taken before the opener has shown the token and is one of the peers."""

    def __init__(self, server: LaneServer) -> None:
        super().__init__(server.limit, HELLO_BYTES, server.complaints)
        self._server = server
        self._deadline: asyncio.TimerHandle | None = None
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
            return
        hello = pb.LaneHello.FromString(payload)
        refusal = self._server.refusal_of(hello)
        if refusal:
            self._complaints.say(refusal, f"a lane was refused to {hello.addr[:80]!r}: {refusal}")
            self.send(pb.Ack(error=pb.Error(error=refusal)))
            if self._transport is not None:
                self._transport.close()
            return
        assert self._deadline is not None, "a connection without a deadline was not welcome"
        self._deadline.cancel()
        self.addr = hello.addr
        self._frames = FrameReader(credentials.RECEIVE_BYTES)
        self.send(self._server.events.greeting())
        self._server.entered(self)

    def send(self, ack: pb.Ack) -> bool:
        return self.write(ack.SerializeToString())


class LaneServer:
    """Accepts the lanes that the peers open."""

    def __init__(
        self,
        config: ClusterConfig,
        peers: frozenset[str],
        events: LaneEvents,
        roster: Roster | None = None,
    ) -> None:
        self._config = config
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

    def refusal_of(self, hello: pb.LaneHello) -> str:
        """Why the sender of `hello` gets no lane; empty where it gets one."""
        if not hmac.compare_digest(hello.token.encode(), self._config.auth_token.encode()):
            return "the token is missing or wrong"
        if hello.addr not in self._peers:
            return "its address is not among the HA_HOSTS of this node"
        # What differs exactly the stream has said.
        if hello.version != EXTENSION_VERSION:
            return "it is of another release of django_hacache"
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


class _OutboundPipe(_Pipe):
    def __init__(
        self,
        limit: int,
        hello: pb.LaneHello,
        addr: str,
        answered: Callable[[pb.Ack], None],
        complaints: Complaints,
    ) -> None:
        super().__init__(limit, credentials.RECEIVE_BYTES, complaints)
        self._hello = hello
        self._addr = addr
        self._answered = answered
        self.up = self.was_up = False

    def peer(self) -> str:
        return self._addr

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.write(self._hello.SerializeToString())

    def connection_lost(self, exc: Exception | None) -> None:
        self.up = False
        super().connection_lost(exc)

    def abort(self) -> None:
        self.up = False
        super().abort()

    def received(self, payload: bytes) -> None:
        ack = pb.Ack.FromString(payload)
        if self.up:
            self._answered(ack)
        elif ack.mgmt_ack.leader_info.node_addr == self._addr:
            self.up = self.was_up = True
        else:
            reason = ack.error.error[:200] or "another node answers there"
            self._complaints.say(reason, f"no lane to {self._addr}: {reason}")
            self.abort()


class Lane:
    """The opener's end of the lane to one peer: opened once its port is known, and again for ever."""

    def __init__(
        self,
        config: ClusterConfig,
        me: Host,
        peer: Host,
        events: LaneEvents,
        rng: Random,
        roster: Roster | None = None,
    ) -> None:
        self.addr = peer.addr
        self._config = config
        self._peer = peer
        self._events = events
        self._rng = rng
        hosts = (roster or Roster(config)).digest
        self._hello = pb.LaneHello(
            token=config.auth_token, addr=me.addr, hosts=hosts, version=EXTENSION_VERSION
        )
        self._complaints = Complaints(logger)
        self._port = 0
        self._announced = asyncio.Event()
        # It was told a moment ago: the peer is there, and there is nothing to wait for.
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
        """The peer has told on which port it takes lanes; 0: on none."""
        self._port = port
        if port:
            self._announced.set()
            self._is_there.set()
        else:
            self._announced.clear()

    def send(self, request: pb.CacheRequest) -> bool:
        """Send a request; False where the lane is down and it has to go another way."""
        return self.send_encoded(request.SerializeToString())

    @property
    def lively(self) -> bool:
        return self._pipe is not None and self._pipe.lively

    def send_encoded(self, request: bytes) -> bool:
        """The same for one that is encoded already."""
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
        wait = KEEPALIVE_S
        while True:
            await self._announced.wait()
            self._is_there.clear()
            pipe = self._pipe = await self._connect()
            if pipe is not None:
                await pipe.closed
                self._passage.lost()
                if pipe.was_up:
                    wait = KEEPALIVE_S
                    self._is_there.clear()
                    self._events.lane_lost(self.addr)
            told = await self._is_told_within(wait * self._rng.uniform(0.5, 1.5))
            wait = KEEPALIVE_S if told else min(wait * 2, RETRY_S_MAX)

    async def _is_told_within(self, seconds: float) -> bool:
        """Whether the peer says that it is there; it may have come back long before the next try."""
        try:
            async with asyncio.timeout(seconds):
                await self._is_there.wait()
        except TimeoutError:
            return False
        return True

    async def _connect(self) -> _OutboundPipe | None:
        tls, limit = self._config.tls, self._config.buf_client << 20
        answered = lambda ack: self._events.peer_answered(self.addr, ack)  # noqa: E731
        try:
            async with asyncio.timeout(CONNECT_S):
                _, pipe = await asyncio.get_running_loop().create_connection(
                    lambda: _OutboundPipe(limit, self._hello, self.addr, answered, self._complaints),
                    self._peer.name,
                    self._port,
                    ssl=None if tls is None else credentials.client_context(tls),
                    server_hostname=None if tls is None else credentials.expected_name(tls),
                )
        except (ssl.SSLError, ConfigurationError) as error:
            # ConfigurationError: a file of TLS that is being replaced, perhaps.
            self._complaints.say(f"TLS: {error}", f"no lane to {self.addr}: TLS: {error}")
        except (OSError, UnicodeError) as error:  # TimeoutError, too; UnicodeError: a name that cannot be one
            logger.debug("no lane to %s on port %d: %s", self.addr, self._port, error)
        else:
            return pipe
        return None
