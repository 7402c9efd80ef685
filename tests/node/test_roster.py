"""Nodes that are started with different HA_HOSTS."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import replace

import grpc

from django_hacache.conf import Host
from django_hacache.node import credentials
from django_hacache.node.peers import METHOD, PeerStream
from django_hacache.node.roster import SHOWN_S, Roster
from django_hacache.node.service import Service, start_server
from django_hacache.wire import cache_pb2 as pb
from tests.node.test_lane import until
from tests.node.test_peers import Events
from tests.node.test_service import TOKEN, config_of
from tests.node_process import free_port

A, B, C, D = (Host("http", name, 7001) for name in "abcd")


def roster_of(*hosts, now=lambda: 0.0):
    return Roster(replace(config_of(1), hosts=hosts), now)


def test_neither_order_nor_scheme_makes_another_list():
    secure = tuple(replace(host, scheme="https") for host in (C, A, B))
    assert roster_of(A, B, C).digest == roster_of(*secure).digest
    roster = roster_of(A, B, C)
    assert roster.refusal_of("b:7001", roster_of(*secure).hosts) == ""
    assert not roster.others


def test_what_differs_is_said_loudly_and_once(caplog):
    roster = roster_of(A, B, C)
    for _ in range(3):
        refusal = roster.refusal_of("b:7001", ("a:7001", "b:7001", "d:7001"))
        assert "d:7001" in refusal and "c:7001" in refusal
    (record,) = [one for one in caplog.records if one.levelno >= logging.ERROR]
    for told in ("b:7001", "HA_HOSTS", "has d:7001 besides", "has not c:7001", "stop all nodes"):
        assert told in record.getMessage()
    assert roster.others == {"b:7001": ("a:7001", "b:7001", "d:7001")}


def test_a_node_that_has_the_same_list_now_or_is_gone_is_shown_no_more():
    time = [0.0]
    roster = roster_of(A, B, C, now=lambda: time[0])
    for addr in ("b:7001", "c:7001"):
        roster.refusal_of(addr, ("b:7001", "c:7001"))
    assert not roster.refusal_of("b:7001", roster.hosts)
    assert list(roster.others) == ["c:7001"]
    time[0] = SHOWN_S + 1
    assert not roster.others


def test_a_node_of_a_version_that_tells_no_list_is_not_refused():
    roster = roster_of(A, B, C)
    assert not roster.refusal_of("b:7001", [""])
    assert not roster.others


def test_a_node_with_another_list_gets_no_stream_and_both_sides_know():
    port = free_port()
    here, there = Host("http", "127.0.0.1", 1), Host("http", "127.0.0.1", port)
    config = replace(config_of(port), reconnect_lower_ms=1, reconnect_upper_ms=2, hosts=(here, there))
    larger = replace(config, hosts=(here, there, D))
    theirs, ours = Roster(config), Roster(larger)
    events = Events(there.addr)
    events.greeting = lambda: pb.Ack(
        mgmt_ack=pb.MgmtAck(leader_info=pb.LeaderInfo(node_addr=there.addr, hosts=theirs.hosts))
    )

    async def scenario():
        service = Service(config, frozenset({here.addr}), events, max_request_bytes=1 << 20, roster=theirs)
        server = await start_server(config, service)
        stream = PeerStream(larger, here, there, events, random.Random(1), ours)
        stream.start()
        try:
            await until(lambda: len(events.lost) > 2)
            assert not events.connected
            assert theirs.others == {here.addr: ours.hosts}
            assert ours.others == {there.addr: theirs.hosts}
            async with grpc.aio.insecure_channel(there.addr) as channel:
                metadata = credentials.metadata(TOKEN, here.addr, ours.hosts)
                call = channel.stream_stream(METHOD)(metadata=metadata)
                greeting = pb.Ack.FromString(await call.read())
                assert tuple(greeting.mgmt_ack.leader_info.hosts) == theirs.hosts
                assert await asyncio.wait_for(call.code(), 20) is grpc.StatusCode.FAILED_PRECONDITION
                assert D.addr in await call.details()
        finally:
            await stream.close()
            await server.stop(None)

    asyncio.run(scenario())
