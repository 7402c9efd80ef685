"""Two ends of a lane, and what is told of it."""

from __future__ import annotations

import asyncio
import random

from django_hacache.conf import ClusterConfig, Host
from django_hacache.node.transport.authentication.credentials import EXTENSION_VERSION
from django_hacache.node.transport.lanes.outbound import OutboundLane
from django_hacache.node.transport.lanes.server import LaneServer
from django_hacache.wire import cache_pb2 as pb
from tests.node.lanes import hello_of, opened
from tests.node_process import TOKEN

ME, PEER = Host("http", "127.0.0.1", 1), Host("http", "127.0.0.1", 2)
THIRD = "127.0.0.1:3"


def config(token=TOKEN, lane_port=0, buf_client=1, me=PEER):
    return ClusterConfig(
        ha_mode=True,
        hosts=(ME, PEER),
        hostname=me.addr,
        auth_token=token,
        tls=None,
        buf_server=8,
        buf_client=buf_client,
        keepalive_interval_s=5,
        keepalive_timeout_s=5,
        reconnect_lower_ms=250,
        reconnect_upper_ms=1000,
        election_timeout_s=2,
        lane_port=lane_port,
    )


class Events:
    """Both ends' runtime: answers a ping with a pong, and notes the rest."""

    def __init__(self, addr=PEER.addr):
        self._addr = addr
        self.open = set()
        self.requests = []
        self.answers = []
        self.lost = []

    def greeting(self):
        return pb.Ack(
            mgmt_ack=pb.MgmtAck(
                leader_info=pb.LeaderInfo(node_addr=self._addr, extension_version=EXTENSION_VERSION)
            )
        )

    def lane_opened(self, lane):
        self.open.add(lane)

    def lane_closed(self, lane):
        self.open.discard(lane)

    def lane_request(self, lane, request):
        self.requests.append((lane.addr, request))
        if request.mgmt_req.WhichOneof("method") == "ping":
            lane.send(pb.Ack(mgmt_ack=pb.MgmtAck(pong=pb.Pong(seq=request.mgmt_req.ping.seq))))

    def lane_lost(self, addr):
        self.lost.append(addr)

    def peer_answered(self, addr, ack):
        self.answers.append((addr, ack))


def ping(seq):
    return pb.CacheRequest(mgmt_req=pb.MgmtRequest(ping=pb.Ping(seq=seq)))


async def until(condition, seconds=10):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0.01)


class Ends:
    """A server on the peer and a lane to it."""

    def __init__(self, *, token=TOKEN, addr=PEER.addr, server_config=None):
        self.events = Events(addr)
        self.server = LaneServer(server_config or config(), frozenset({ME.addr, THIRD}), self.events)
        self.lane = OutboundLane(config(token), ME, PEER, self.events, random.Random(1))

    async def __aenter__(self):
        self.server.start("127.0.0.1")
        self.lane.start()
        return self

    async def __aexit__(self, *exc):
        await self.lane.close()
        await self.server.close()

    async def up(self):
        self.lane.announced(self.server.port)
        await until(lambda: self.lane.up)

    async def open(self, token=TOKEN, **changed):
        """What the server says in the end to who begins a lane otherwise than the peer does."""
        reader, writer = await self.stranger()
        hello = hello_of(ME.addr, PEER.addr, self.server.port, **changed)
        answer = await opened(reader, writer, hello, token)
        writer.close()
        return answer

    async def stranger(self):
        return await asyncio.open_connection("127.0.0.1", self.server.port)


def run(scenario):
    asyncio.run(scenario())


async def ended(reader):
    """What comes before the end of the connection."""
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionResetError:
        return b""
