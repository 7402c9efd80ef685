"""A real node without a network: its core, codec, replica and control page, on a tmpfs, in a told time.

What its peers, its clients and its workers send is handed to it as it would be by the transports, already parsed. It
must outlive all of it, keep what the core promises (`check`), and be able to go on from what it has stored.
"""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import replace
from pathlib import Path
from unittest import mock

from django_hacache.conf import ClusterConfig, Host
from django_hacache.conf.options import cache_options
from django_hacache.consensus.hard_state import Installing, fresh_state
from django_hacache.consensus.messages import Generation
from django_hacache.consensus.ready import Ready
from django_hacache.consensus.state import Role
from django_hacache.node.encoding.log_codec import entry_of
from django_hacache.node.process import runtime
from django_hacache.node.storage import storage
from django_hacache.node.transport.streams.inbound import InboundStream
from django_hacache.node.transport.streams.outbox import Outbox
from django_hacache.replica.control import ControlPage
from django_hacache.replica.replica import Replica
from django_hacache.wire import cache_pb2 as pb

SHARED = "/dev/shm" if Path("/dev/shm").is_dir() else None
PORTS = (7001, 7002, 7003)
CACHES = ("default", "other")
CAPACITY = 64 << 20
TURNS = 4
ROLES = ("fresh", "member", "installing", "alone")


def addr_of(number):
    return f"127.0.0.1:{PORTS[number]}"


def config_of(hosts):
    return ClusterConfig(
        ha_mode=True,
        hosts=tuple(Host("http", "127.0.0.1", port) for port in PORTS[:hosts]),
        hostname=addr_of(0),
        auth_token="the token of no cluster that exists",
        tls=None,
        buf_server=8,
        buf_client=1,
        keepalive_interval_s=5,
        keepalive_timeout_s=5,
        reconnect_lower_ms=250,
        reconnect_upper_ms=1000,
        election_timeout_s=1,
        lane_port=None,
    )


class Seeded:
    """In place of SystemRandom: what happened once happens again."""

    def getrandbits(self, bits):
        return random.Random(1).getrandbits(bits)


class World:
    """One node in a directory that is not there yet, as `role` says: see ROLES. Use it inside a running ToldLoop."""

    def __init__(self, told, directory, role="fresh"):
        self.told = told
        self.alone = role == "alone"
        self.directory = directory
        self.node = None
        self.replies = 0
        self.closing = []
        self.asked = 0
        self._open()
        if role in ("member", "installing"):
            self._store(role)
            self.restart()

    def _open(self):
        self.replica = Replica.open(self.directory, writable=True, map_size=1 << 26, keeps_journal=True)
        self.page = ControlPage.create(self.directory)
        config = config_of(1 if self.alone else 3)
        caches = {name: cache_options(name, str(self.directory), {}) for name in CACHES}
        with mock.patch.object(runtime, "SystemRandom", Seeded):
            node = runtime.Node(
                config, self.replica, self.page, self.directory / "node.sock", caches, CAPACITY
            )
        self.node = node
        self.highest = (-1, 0)
        for addr in () if self.alone else map(addr_of, (1, 2)):
            self.connect(addr)
        self.client = InboundStream("", limit=1 << 20, unanswered=8, host="ipv4:127.0.0.1")
        node.core.tick(self.told.ms)
        node.loop.carry_out()

    def connect(self, addr):
        """The streams of both sides are up."""
        node = self.node
        if node.transport._peers[addr]._outbox is None:
            node.transport._peers[addr]._outbox = Outbox(pb.CacheRequest, limit=1 << 20, bundles=True)
            node.transport.routes.stream_opened(InboundStream(addr, limit=1 << 20, unanswered=8))
        node.transport.peer_connected(addr, 0, CACHES)

    def lose(self, addr, *, refused):
        peer = self.node.transport._peers[addr]
        if peer._outbox is not None:
            peer._outbox = None
            self.node.transport.routes.stream_closed(self.node.transport.routes._inbound_streams[addr][-1])
        self.node.transport.peer_lost(addr, refused=refused)

    def _store(self, role):
        """A member of a cluster that has lived for a while, with a log and a little in its replica."""
        entries = [
            entry_of(
                pb.LogEntry(
                    index=index,
                    term=3,
                    req_id=f"r{index}",
                    outcome=pb.Outcome(mod_res=[True]).SerializeToString(),
                    effects=pb.Effects(
                        effects=[
                            pb.Effect(
                                set=pb.SetEffect(cache_name="default", entry=f"k{index}", value=b"\1\7")
                            )
                        ]
                    ).SerializeToString(),
                ),
                self.told.ms,
            )
            for index in range(1, 9)
        ]
        hard = fresh_state(random.Random(2))
        hard = replace(
            hard,
            term=3,
            generation=Generation(5, "g"),
            fresh=False,
            installing=Installing(b"default\0k4", 6) if role == "installing" else None,
        )
        ready = Ready(entries=entries, apply=entries[:6], hard_state=hard)
        storage.Storage(self.replica).write(ready, hard, 0)

    # what happens

    async def turn(self):
        """Let everything happen that is due."""
        for _ in range(TURNS):
            await asyncio.sleep(0)

    def restart(self):
        """As after a kill, but for a lease that holds."""
        self._end()
        self._open()

    def _end(self):
        node = self.node
        node._snapshots.cancel_all()
        node.loop.end()
        node.loop.failed.set()  # it carries nothing out any more
        self.page.revoke()
        self.replica.close()
        self.page.close()

    def reply(self, ack):
        self.replies += 1
        assert ack is None or ack.IsInitialized()

    def outgoing(self, addr):
        """What the node has for a peer, and forgets it."""
        outbox = self.node.transport._peers[addr]._outbox
        found = []
        if outbox is not None:
            found = [*outbox._urgent, *(request for request, _ in outbox._waiting)]
            outbox._urgent.clear()
            outbox._waiting.clear()
            outbox._bytes = 0
        for stream in self.node.transport.routes._inbound_streams.get(addr, ()):
            stream.outbox._urgent.clear()
            stream.outbox._waiting.clear()
            stream.outbox._bytes = 0
        return found

    def check(self):
        """What holds whatever members send."""
        node, core = self.node, self.node.core
        state, log = core.state, core.state.log
        assert not node.loop.failed.is_set(), "the node has ended"
        assert state.applied <= state.commit <= log.last_index, (state.applied, state.commit, log.last_index)
        assert log.base_index <= state.applied
        assert log.last_index == log.base_index + len(log)
        assert log.bytes == sum(entry.size for entry in log._entries)
        assert self.page.deadline_ns <= self.told.ns + core.config.lease_ms * 1_000_000, (
            "a lease from the future"
        )
        generation = core.hard.generation
        now = (generation.number if generation else -1, core.hard.term)
        assert core.hard.incarnation != getattr(self, "incarnation", None) or now >= self.highest, (
            "a term that ended is back"
        )
        self.highest, self.incarnation = now, core.hard.incarnation
        assert core.pending <= core.config.pending_requests
        assert core.pending_bytes <= 2 * core.config.pending_bytes
        assert self.replies <= self.asked, "a request was answered twice"
        if core.role is Role.LEADER:
            assert core.leader in (None, node.addr)

    def check_stored(self):
        """What is stored is what the node goes on with."""
        found = storage.load(self.replica, random.Random(3))
        core = self.node.core
        if found.hard.generation is None and core.hard.generation is None:
            return  # nothing was stored yet: each start is another one
        assert found.hard == core.hard, (found.hard, core.hard)
        assert found.applied == core.state.applied
        unstored = len(self.node._storage._unstored)
        assert found.log.last_index == core.state.log.last_index - unstored
        json.loads(json.dumps(self.node.core.hard.incarnation))

    async def close(self):
        for close in self.closing:
            await close()
        self._end()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await self.turn()
