"""A node that answers nothing but Status: the real socket and server, without a cluster behind them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from django_hacache.link.server import LinkServer
from django_hacache.wire import cache_pb2 as pb

HOSTS = "http://10.0.0.11:7001, http://10.0.0.12:7001, http://10.0.0.13:7001"

CLUSTER = {
    "HA_MODE": True,
    "HA_HOSTS": HOSTS,
    "HOSTNAME_OVERWRITE": "10.0.0.11:7001",
    "CACHE_TLS": False,
    "CACHE_AUTH_TOKEN": "kT3vXq9ZbW5mNf8RcJ2hLd7PsYgA4eUo",
}

TRANSFER = pb.Transfer(
    peer="10.0.0.13:7001", bytes=250_000_000, entries=25, total_entries=100, elapsed_ms=2000
)


@contextmanager
def answering(location: Path, ack: pb.Ack) -> Iterator[None]:
    """Answer every request on the socket of `location` with `ack`."""

    def handle(request: pb.CacheRequest, reply: Callable[[pb.Ack], None]) -> None:
        reply(ack)

    async def serve() -> None:
        server = LinkServer(location / "node.sock", handle, max_request_bytes=1 << 20)
        await server.start()
        started.set()
        await stop.wait()
        await server.close()

    loop = asyncio.new_event_loop()
    started, stop = threading.Event(), asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert started.wait(10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def degraded() -> pb.StatusAck:
    """Two of three hosts, as the first of them sees them."""
    return pb.StatusAck(
        addr="10.0.0.11:7001",
        health="degraded",
        quorum=True,
        term=4,
        leader=pb.Leader(addr="10.0.0.12:7001", election_ts=1_790_000_000_000, connected=True),
        hosts=[
            pb.HostStatus(
                addr="10.0.0.11:7001",
                role="follower",
                connected=True,
                commit_index=120_345,
                applied_index=120_344,
                uptime_secs=95_000,
                entries=10_300,
                lease_ms=870,
                bounds=[
                    pb.Bound(name="log_bytes", used=1 << 20, limit=64 << 20),
                    pb.Bound(name="recent_requests", used=17, limit=32_768),
                ],
            ),
            pb.HostStatus(
                addr="10.0.0.12:7001",
                role="leader",
                connected=True,
                uptime_secs=4020,
                fresh=True,
                transfers=[TRANSFER],
            ),
            pb.HostStatus(addr="10.0.0.13:7001", role="undefined"),
        ],
        caches=[
            pb.CacheStatus(name="default", entries=10_000, bytes=12_345_678),
            pb.CacheStatus(name="sessions", entries=300, bytes=81_920),
        ],
    )
