"""StreamServer: serves the gRPC streams that nodes and clients open. It authenticates, parses, and hands on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import urllib.parse
from typing import TYPE_CHECKING, Protocol

import grpc
from google.protobuf.message import DecodeError

from django_hacache.link.server import too_large
from django_hacache.node.log_throttle import LogThrottle
from django_hacache.node.transport.authentication import certificate_names, credentials
from django_hacache.node.transport.authentication.guesses import Guesses
from django_hacache.node.transport.authentication.keyring import Keyring, Kind
from django_hacache.node.transport.authentication.roster import Roster
from django_hacache.node.transport.streams.budget import REQUESTS_PER_S, Budgets
from django_hacache.node.transport.streams.clients import STREAMS_MAX, Clients
from django_hacache.node.transport.streams.inbound import InboundStream
from django_hacache.node.transport.streams.unfinished import Unfinished
from django_hacache.node.transport.streams.unread import Unread
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from django_hacache.conf import ClusterConfig

    Metadata = list[tuple[str, str | bytes]]

logger = logging.getLogger("django_hacache.node")

SERVICE = "cache.Cache"
# How long a stream that ends may take to write the answer on its way, and its status after that.
LAST_WRITE_S = 2.0


class StreamEvents(Protocol):
    """What a StreamServer reports."""

    def greeting(self) -> pb.Ack: ...
    def stream_opened(self, stream: InboundStream) -> None: ...
    def stream_request(self, stream: InboundStream, request: pb.CacheRequest) -> None: ...
    def stream_closed(self, stream: InboundStream) -> None: ...


class StreamServer(grpc.GenericRpcHandler):
    """cache.Cache/StreamValues over raw bytes: what does not parse ends its stream and nothing else."""

    def __init__(
        self,
        config: ClusterConfig,
        peers: frozenset[str],
        events: StreamEvents,
        *,
        max_request_bytes: int,
        roster: Roster | None = None,
        keyring: Keyring | None = None,
        guesses: Guesses | None = None,
    ) -> None:
        self._config = config
        self._keyring = keyring or Keyring(config)
        self._guesses = guesses or Guesses()
        self._peers = peers
        self._events = events
        self._roster = roster or Roster(config)
        self._max_request_bytes = max_request_bytes
        self._streams: set[InboundStream] = set()
        self._of_nodes: dict[str, InboundStream] = {}
        self._budgets = Budgets()
        self._throttle = LogThrottle(logger)
        self._clients = Clients(self._throttle)
        self.unread = Unread(max_request_bytes)
        self.unfinished = Unfinished(max_request_bytes, self._throttle.say)
        self._being_told = 0

    def end_streams(self) -> None:
        """Let every stream end once what waits on it is written: nobody has to be cut off."""
        for stream in self._streams:
            stream.outbox.close()

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        if handler_call_details.method == f"/{SERVICE}/StreamValues":
            return grpc.stream_stream_rpc_method_handler(self._stream_values)
        return None

    async def _stream_values(
        self, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> None:
        given = list(context.invocation_metadata() or ())
        host = urllib.parse.unquote(context.peer().rpartition(":")[0])
        addr = next((str(value) for key, value in given if key == credentials.ADDR_KEY), "")
        refusal = self._refusal_of(given, host, addr, context)
        if refusal is not None:
            code, details = refusal
            same_version = credentials.version_of(given) == credentials.EXTENSION_VERSION
            if code is grpc.StatusCode.FAILED_PRECONDITION and same_version:
                # It learns from the greeting which list this node has. Another version might begin to talk.
                await self._tell_refused(context)
            await context.abort(code, details)
        stream = InboundStream(
            addr,
            host=host,
            budget=None if addr else self._budgets.of(host),
            limit=(self._config.buf_client << 20) if addr else sys.maxsize,
            unanswered=self._config.buf_server,
            unread=None if addr else self.unread,
        )
        await self._greet(stream, context)
        try:
            if not addr:
                await self.unfinished.enter(context.peer())
                stream.peer = context.peer()
            failure = await self._serve(stream, requests, context)
            if failure is not None:
                await self._say_why(stream, context, *failure)
        finally:
            # Only now: gRPC keeps what was written to a stream until it has ended.
            self._clients.leave(stream)
            self.unfinished.leave(stream.peer)
            stream.leave()

    def _refusal_of(
        self, given: Metadata, host: str, addr: str, context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> tuple[grpc.StatusCode, str] | None:
        """Why whoever opens a stream gets none; None where it gets one. `addr` is empty for a client."""
        if self._guesses.barred(host):
            self._throttle.say(
                "guesses", f"too many wrong tokens come from {host}: none from there is looked at"
            )
            return grpc.StatusCode.RESOURCE_EXHAUSTED, "too many wrong tokens came from your address: wait"
        kind = self._keyring.kind_of(credentials.token_in(given))
        if kind is Kind.STRANGER:
            self._guesses.wrong(host)
            self._throttle.say(
                "token", f"a stream from {host} was refused: the authorization token is missing or wrong"
            )
            return grpc.StatusCode.UNAUTHENTICATED, "the authorization token is missing or wrong"
        if not addr:
            return None
        refusal = self._refusal_of_node(given, addr, kind, context)
        if refusal is None:
            self._guesses.right(host)
        return refusal

    def _refusal_of_node(
        self, given: Metadata, addr: str, kind: Kind, context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> tuple[grpc.StatusCode, str] | None:
        """The same for one that says it is the node `addr`."""
        if kind is not Kind.NODE:
            self._throttle.say(
                "no node",
                f"a stream was refused to {addr[:80]!r}: it shows the token of clients, and says it is a node",
            )
            told = "this is the token of clients: a node shows CACHE_NODE_TOKEN"
            return grpc.StatusCode.PERMISSION_DENIED, told
        hosts = next((str(value) for key, value in given if key == credentials.HOSTS_KEY), "")
        refusal = self._roster.refusal_of(addr, hosts.split(","), credentials.version_of(given))
        if refusal:
            return grpc.StatusCode.FAILED_PRECONDITION, refusal
        if addr not in self._peers:
            self._throttle.say(
                "not listed", f"a node that calls itself {addr[:80]} connected; HA_HOSTS does not list it"
            )
            return grpc.StatusCode.PERMISSION_DENIED, f"{addr} is not among the HA_HOSTS of this node"
        flaw = self._keyring.flaw_of_member(addr, certificate_names.of_context(context.auth_context()))
        if flaw:
            self._throttle.say(
                f"{addr} certificate", f"a stream was refused to {addr}: {flaw}", level=logging.ERROR
            )
            return grpc.StatusCode.PERMISSION_DENIED, flaw
        return None

    async def _say_why(
        self,
        stream: InboundStream,
        context: grpc.aio.ServicerContext[bytes, bytes],
        code: grpc.StatusCode,
        details: str,
    ) -> None:
        """End the stream with a status. It waits behind an answer that is not read: then the connection ends."""
        saying = asyncio.ensure_future(context.abort(code, details))
        try:
            await asyncio.wait({saying}, timeout=None if stream.is_node else LAST_WRITE_S)
            if not saying.done():
                self.unfinished.hang_up(stream.peer)
            # When the client goes, it cannot be told.
            with contextlib.suppress(grpc.aio.InternalError):
                await saying
        finally:
            saying.cancel()

    async def _tell_refused(self, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        """Write the greeting, unless many do not take theirs."""
        if self._being_told >= STREAMS_MAX:
            return
        self._being_told += 1
        try:
            await context.write(self._events.greeting().SerializeToString())
        finally:
            self._being_told -= 1

    async def _greet(self, stream: InboundStream, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        """Write the first message; a client has a place before that, for it may never take it.

        Written before anybody can send on the stream: a heartbeat that overtook it would make its reader take
        this node for one of the base protocol, and keep silent towards it.
        """
        if not stream.addr and not self._clients.enter(stream):
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"{STREAMS_MAX} other clients have streams to this node"
            )
        try:
            await context.write(self._events.greeting().SerializeToString())
        except BaseException:
            self._clients.leave(stream)
            raise
        if not stream.addr:
            self._clients.greeted(stream)

    def _replace_former(self, stream: InboundStream) -> None:
        """End the stream that the node had before: a node has one, and the later one counts."""
        former = self._of_nodes.get(stream.addr)
        self._of_nodes[stream.addr] = stream
        if former is None:
            return
        former.replaced.set()
        if former.host != stream.host:
            self._throttle.say(
                f"{stream.addr} twice",
                f"{stream.addr} has opened a stream from {stream.host} while it had one from {former.host}: the later "
                "one counts. Two hosts may say that they are this one",
                level=logging.ERROR,
            )

    async def _serve(
        self,
        stream: InboundStream,
        requests: AsyncIterator[bytes],
        context: grpc.aio.ServicerContext[bytes, bytes],
    ) -> tuple[grpc.StatusCode, str] | None:
        """Serve the stream for as long as anything is said on it; returns what was wrong with it."""
        if stream.addr:
            self._replace_former(stream)
        self._events.stream_opened(stream)
        self._streams.add(stream)
        try:
            return await self._speak(stream, requests, context)
        finally:
            self._streams.discard(stream)
            if self._of_nodes.get(stream.addr) is stream:
                del self._of_nodes[stream.addr]
            self._events.stream_closed(stream)

    async def _speak(
        self,
        stream: InboundStream,
        requests: AsyncIterator[bytes],
        context: grpc.aio.ServicerContext[bytes, bytes],
    ) -> tuple[grpc.StatusCode, str] | None:
        loop = asyncio.get_running_loop()
        reader = loop.create_task(self._read(stream, requests))
        ends = {
            loop.create_task(self._write(stream, context)),
            loop.create_task(stream.overrun.wait()),
            loop.create_task(stream.replaced.wait()),
        }
        tasks = {reader, *ends}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if reader.done() and reader.exception() is None:
                # Whoever says no more still gets the answers to what was said.
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            failure = reader.exception() if reader.done() and not reader.cancelled() else None
            if failure is not None:
                # A write that is cancelled on its way can keep the status from ever being sent.
                stream.outbox.close()
                await asyncio.wait(ends, timeout=LAST_WRITE_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError, DecodeError, grpc.aio.BaseError):
                    await task
        if isinstance(failure, DecodeError):
            who = stream.addr or "a client"
            self._throttle.say(f"{who} bytes", f"a stream ended: its bytes are no request ({who})")
            return grpc.StatusCode.INVALID_ARGUMENT, "these bytes are no CacheRequest"
        if stream.overrun.is_set():
            self._throttle.say("overrun", "a client does not read its answers and was cut off")
            return grpc.StatusCode.RESOURCE_EXHAUSTED, "the answers are not being read"
        if stream.replaced.is_set():
            return grpc.StatusCode.ABORTED, "another stream has taken its place"
        return None

    async def _read(self, stream: InboundStream, requests: AsyncIterator[bytes]) -> None:
        async for raw in requests:
            self._clients.heard(stream)
            self.unfinished.whole(stream.peer, len(raw))
            try:
                await self._take(stream, raw)
            finally:
                self.unfinished.goes_on(stream.peer)
        await stream.finish()

    async def _take(self, stream: InboundStream, raw: bytes) -> None:
        """Hand a request on, once it is this client's turn."""
        if stream.budget is not None and (pause_s := stream.budget.spend(len(raw))):
            self._throttle.say(
                "floods",
                f"a client at {stream.host} has more than {REQUESTS_PER_S} requests a second, or large ones, or "
                "large answers: it is read more slowly",
            )
            await asyncio.sleep(pause_s)
        await stream.room()
        # From here on nothing is awaited: there is room for this answer and no other.
        if not stream.is_node and len(raw) > self._max_request_bytes:
            # Not even parsed: what is small on the wire can be many times as large in memory.
            stream.reply(too_large(len(raw), self._max_request_bytes))
            return
        request = pb.CacheRequest.FromString(raw)
        if stream.is_node and request.bundle:
            for one in request.bundle:
                self._events.stream_request(stream, one)
        else:
            self._events.stream_request(stream, request)

    async def _write(self, stream: InboundStream, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        while (ack := await stream.outbox.get()) is not None:
            encoded = ack.SerializeToString()
            del ack  # one copy less of what may not be read for long
            await context.write(encoded)
            if not stream.is_node:
                stream.taken(len(encoded))
                self.unfinished.answered(stream.peer, len(encoded))
