"""OutboundStream: the stream that this node opens to a peer, and opens again whenever it is lost.

Requests leave on it, answers come back on it. What they mean is not known here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Protocol

import grpc
from google.protobuf.message import DecodeError

from django_hacache.node.log_throttle import LogThrottle
from django_hacache.node.transport.authentication import credentials, handshakes
from django_hacache.node.transport.authentication.keyring import Keyring
from django_hacache.node.transport.authentication.roster import Roster
from django_hacache.node.transport.streams.outbox import Outbox
from django_hacache.system.printable import printable
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from django_hacache.conf import ClusterConfig, Host

logger = logging.getLogger("django_hacache.node")

METHOD = "/cache.Cache/StreamValues"
PROBE_S = 0.5
# A link of a Mbit/s is the slowest that is worth waiting for.
SLOWEST_BYTES_S = 125_000
# What an Append may have of that, beside parts of a replica and what is sent again by TCP.
SLOWEST_APPEND_BYTES_S = SLOWEST_BYTES_S // 2
# When to look whether a peer still listens that was connected until now.
PROBES_S = (0.0, 0.02, 0.08)


def without_a_vote(addr: str) -> str:
    """What there is to say of a host of HA_HOSTS that is no node."""
    return (
        f"{addr} is in HA_HOSTS and speaks the base protocol only: it has no vote and stores nothing, so the cluster "
        "survives one loss less. Such a program is a client: take it out of the HA_HOSTS of the nodes"
    )


class PeerEvents(Protocol):
    """What happens on the stream to a peer."""

    def peer_connected(
        self, addr: str, lane_port: int, caches: Iterable[str], limits: Iterable[pb.CacheLimits]
    ) -> None: ...
    def peer_answered(self, addr: str, ack: pb.Ack) -> None: ...
    def peer_disconnected(self, addr: str) -> None: ...
    def peer_lost(self, addr: str, *, refused: bool) -> None: ...


class OutboundStream:
    """The stream to one peer."""

    def __init__(
        self,
        config: ClusterConfig,
        me: Host,
        peer: Host,
        events: PeerEvents,
        rng: Random,
        roster: Roster | None = None,
        keyring: Keyring | None = None,
    ) -> None:
        self.addr = peer.addr
        self._config = config
        self._peer = peer
        self._events = events
        self._rng = rng
        self._roster = roster or Roster(config)
        self._keyring = keyring or Keyring(config)
        self._me = me.addr
        self._outbox: Outbox[pb.CacheRequest] | None = None
        self._task: asyncio.Task[None] | None = None
        self._diagnosis: asyncio.Task[None] | None = None
        # The message that is being written: since when, and how many bytes.
        self._writing: tuple[float, int] | None = None
        # The latest Append: its term and place, its bytes, and until when it may be on its way.
        self._append: tuple[tuple[int, int], int, float] | None = None
        self._throttle = LogThrottle(logger)
        # Set where the peer has shown that it is up, and whether that counts: once after each stream to it.
        self._there = asyncio.Event()
        self._may_hurry = True
        # Whether the latest try has led to a stream, be it one that an error ended.
        self._was_connected = False
        # Whether it is a program of the base schema: no node, and no vote.
        self.is_base = False

    @property
    def connected(self) -> bool:
        """Whether the stream is up and the peer speaks the extensions."""
        return self._outbox is not None

    @property
    def queued_bytes(self) -> int:
        """What waits to be written to the peer."""
        return self._outbox.bytes if self._outbox is not None else 0

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"peer {self.addr}")

    async def close(self) -> None:
        for task in (self._task, self._diagnosis):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    def send(self, request: pb.CacheRequest, *, urgent: bool = False) -> bool:
        """Queue a request; False where the stream is down or full. The protocol sends again what matters."""
        return self._outbox is not None and self._outbox.put(request, urgent=urgent)

    def send_append(self, place: tuple[int, int], request: pb.CacheRequest, size: int) -> bool:
        """The same for an Append of `size` bytes: it is known until when it is not late."""
        if not self.send(request):
            return False
        # Not again for what is sent again: one that is never taken must not be on its way for ever.
        if self._append is None or self._append[0] != place or self._append[1] < size:
            until = asyncio.get_running_loop().time() + size / SLOWEST_APPEND_BYTES_S
            self._append = (place, size, until)
        return True

    def forget_append(self) -> None:
        """Forget the Append on its way: a later one takes the lane."""
        self._append = None

    def append_moves(self) -> bool:
        """Whether an Append may be on its way still, or in the queue behind a message that may take so long.

        gRPC does not say how much of a message is gone, and takes for written what the kernel has yet to send.
        """
        now = asyncio.get_running_loop().time()
        if self._append is not None and self.connected and now < self._append[2]:
            return True
        if self._writing is None:
            return False
        since, size = self._writing
        return now - since < size / SLOWEST_BYTES_S

    def is_there(self) -> None:
        """The peer has opened a stream to this node: try again at once."""
        self._there.set()

    async def _run(self) -> None:
        while True:
            self._was_connected = False
            try:
                await self._connect_and_read()
            except grpc.aio.AioRpcError as error:
                self._complain(error)
            except DecodeError as error:
                self._throttle.say(
                    "bytes", f"{self.addr} sent bytes that are no answer; the stream is opened again: {error}"
                )
            except Exception:
                # Whatever it is, it must not leave this node without the stream for ever.
                logger.exception("the stream to %s ended in an unexpected way; it is opened again", self.addr)
            was_connected = self._was_connected
            if was_connected:
                # What was seen while there was a stream says nothing of now.
                self._there.clear()
            self._events.peer_disconnected(self.addr)
            refused = await self._refuses(PROBES_S if was_connected else (0.0,))
            self._events.peer_lost(self.addr, refused=refused)
            lower, upper = self._config.reconnect_lower_ms, self._config.reconnect_upper_ms
            # The first try after a loss comes soon: most losses are a restart.
            wait_ms = lower if was_connected else self._rng.uniform(lower, upper)
            await self._pause(wait_ms / 1000)

    async def _pause(self, seconds: float) -> None:
        """Wait until the next try, or until the peer shows that it is up. Two that refuse each other do not hurry."""
        if not self._may_hurry:
            await asyncio.sleep(seconds)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._there.wait()
                self._may_hurry = False

    async def _connect_and_read(self) -> None:
        async with self._channel() as channel:
            call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(METHOD)(
                metadata=credentials.metadata(self._keyring.shown, self._me, self._roster.hosts)
            )
            first = await call.read()
            if not isinstance(first, bytes):
                await call.read()  # raises the status
                return
            info = pb.Ack.FromString(first)
            answering = info.mgmt_ack.leader_info.node_addr
            if answering and answering != self.addr:
                # A name that leads to another host, or an address that was given to one: not whom we look for.
                self._throttle.say(
                    "another", f"no stream to {self.addr}: the node {answering[:80]} answers there"
                )
                return
            if not answering:
                # A base peer would end the stream at the first message it does not know: it is sent none.
                self.is_base = True
                self._was_connected = True
                self._throttle.say("base", without_a_vote(self.addr), level=logging.ERROR)
                while await call.read() is not grpc.aio.EOF:
                    pass
                return
            self.is_base = False
            greeting = info.mgmt_ack.leader_info
            if self._roster.refusal_of(self.addr, greeting.hosts, greeting.extension_version):
                return
            self._was_connected = True
            self._there.clear()
            self._may_hurry = True
            outbox = self._outbox = Outbox(pb.CacheRequest, limit=self._config.buf_client << 20, bundles=True)
            self._events.peer_connected(self.addr, greeting.lane_port, greeting.caches, greeting.cache_limits)
            writer = asyncio.get_running_loop().create_task(self._write(call, outbox))
            try:
                await self._read(call)
            finally:
                self._outbox = self._writing = self._append = None
                writer.cancel()
                # To await the writer could not tell its cancellation from this task's own.
                await asyncio.wait({writer})
                error = None if writer.cancelled() else writer.exception()
                if error is not None and not isinstance(error, grpc.aio.AioRpcError):
                    raise error

    def _channel(self) -> grpc.aio.Channel:
        secured = self._keyring.secured
        if secured is None:
            options = credentials.channel_options(self._config)
            return grpc.aio.insecure_channel(self._peer.addr, options)
        options = credentials.channel_options(self._config, secured.expected_name)
        return grpc.aio.secure_channel(self._peer.addr, secured.channel, options)

    async def _write(
        self, call: grpc.aio.StreamStreamCall[bytes, bytes], outbox: Outbox[pb.CacheRequest]
    ) -> None:
        try:
            while (request := await outbox.get()) is not None:
                encoded = request.SerializeToString()
                self._writing = (asyncio.get_running_loop().time(), len(encoded))
                await call.write(encoded)
                self._writing = None
        except asyncio.InvalidStateError:
            return  # the call has ended: the reader learns why

    async def _read(self, call: grpc.aio.StreamStreamCall[bytes, bytes]) -> None:
        settled = False
        while True:
            raw = await call.read()
            if not isinstance(raw, bytes):  # the end of the stream
                code, details = await call.code(), await call.details()
                if code is not grpc.StatusCode.OK:
                    logger.debug("the stream to %s ended: %s %s", self.addr, code, printable(str(details)))
                return
            ack = pb.Ack.FromString(raw)
            if not settled:
                # Not before a message that parses: a peer that greets and then talks rubbish is logged once.
                settled = True
                self._throttle.settled()
            for one in ack.bundle or (ack,):
                self._events.peer_answered(self.addr, one)

    async def _refuses(self, waits_s: Iterable[float]) -> bool:
        """Whether nobody listens at the peer's address: its process is gone. Silence says nothing.

        Asks again after each of the waits: a process that ends may close its streams before it stops to listen.
        """
        for wait_s in waits_s:
            await asyncio.sleep(wait_s)
            try:
                async with asyncio.timeout(PROBE_S):
                    _, writer = await asyncio.open_connection(self._peer.name, self._peer.port)
            except ConnectionRefusedError:
                return True
            except (OSError, UnicodeError):  # TimeoutError, too; UnicodeError: a name that cannot be one
                return False
            writer.close()
        return False

    def _complain(self, error: grpc.aio.AioRpcError) -> None:
        """Log why there is no stream, once for each reason."""
        reason = f"{error.code().name}: {error.details()}"
        if error.code() is grpc.StatusCode.UNAUTHENTICATED:
            reason = f"it refused our {self._keyring.setting}"
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            self._say_no(reason)
        elif self._diagnosis is None or self._diagnosis.done():
            # In a task: whether the peer is gone must be found out at once.
            self._diagnosis = asyncio.get_running_loop().create_task(self._diagnose(reason))

    async def _diagnose(self, reason: str) -> None:
        """Log why there is no stream. Where TLS is in the way gRPC says so in words of its own, or not at all."""
        self._say_no(await handshakes.diagnosis(self._peer, self._keyring.secured) or reason)

    def _say_no(self, reason: str) -> None:
        self._throttle.say(reason, f"no stream to {self.addr}: {reason}")
