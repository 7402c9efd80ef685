"""Nodes that are started with different HA_HOSTS."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import replace
from hashlib import sha256

import grpc
import pytest
from google.protobuf import descriptor_pb2

from django_hacache.conf import Host
from django_hacache.node.transport.authentication import credentials
from django_hacache.node.transport.authentication.credentials import EXTENSION_VERSION
from django_hacache.node.transport.authentication.roster import SHOWN_S, Roster
from django_hacache.node.transport.streams.listening import start_server
from django_hacache.node.transport.streams.outbound import METHOD, OutboundStream
from django_hacache.node.transport.streams.server import StreamServer
from django_hacache.wire import cache_pb2 as pb
from tests.node.transport.lanes.test_lane import until
from tests.node.transport.streams.test_outbound import Events
from tests.node.transport.streams.test_server import TOKEN, config_of
from tests.node_process import free_port

A, B, C, D = (Host("http", name, 7001) for name in "abcd")


def roster_of(*hosts, now=lambda: 0.0):
    return Roster(replace(config_of(1), hosts=hosts), now)


def test_neither_order_nor_scheme_makes_another_list():
    secure = tuple(replace(host, scheme="https") for host in (C, A, B))
    assert roster_of(A, B, C).digest == roster_of(*secure).digest
    roster = roster_of(A, B, C)
    assert roster.refusal_of("b:7001", roster_of(*secure).hosts, EXTENSION_VERSION) == ""
    assert not roster.others


def test_what_differs_is_said_loudly_and_once(caplog):
    roster = roster_of(A, B, C)
    for _ in range(3):
        refusal = roster.refusal_of("b:7001", ("a:7001", "b:7001", "d:7001"), EXTENSION_VERSION)
        assert "d:7001" in refusal and "c:7001" in refusal
    (record,) = [one for one in caplog.records if one.levelno >= logging.ERROR]
    for told in ("b:7001", "HA_HOSTS", "has d:7001 besides", "has not c:7001", "stop all nodes"):
        assert told in record.getMessage()
    assert roster.others == {"b:7001": ("a:7001", "b:7001", "d:7001")}


def test_strangers_with_names_and_lists_of_their_own_are_told_of_once(caplog):
    """There is no end of those: whoever has the token can call itself anything."""
    roster = roster_of(A, B, C)
    for number in range(100):
        assert roster.refusal_of(f"x{number}:1", ("a:7001", f"x{number}:1"), EXTENSION_VERSION)
        assert roster.refusal_of(f"x{number}:1", roster.hosts, EXTENSION_VERSION + 1 + number)
    assert len(caplog.messages) == 2


def test_a_node_that_has_the_same_list_now_or_is_gone_is_shown_no_more():
    time = [0.0]
    roster = roster_of(A, B, C, now=lambda: time[0])
    for addr in ("b:7001", "c:7001"):
        roster.refusal_of(addr, ("b:7001", "c:7001"), EXTENSION_VERSION)
    assert not roster.refusal_of("b:7001", roster.hosts, EXTENSION_VERSION)
    assert list(roster.others) == ["c:7001"]
    time[0] = SHOWN_S + 1
    assert not roster.others


def test_a_node_that_tells_no_list_is_not_refused_for_that():
    roster = roster_of(A, B, C)
    assert not roster.refusal_of("b:7001", [""], EXTENSION_VERSION)
    assert not roster.others


@pytest.mark.parametrize("version", [0, EXTENSION_VERSION - 1, EXTENSION_VERSION + 1])
def test_another_version_is_said_loudly_and_once_and_shown_until_it_is_gone(caplog, version):
    time = [0.0]
    roster = roster_of(A, B, C, now=lambda: time[0])
    for _ in range(3):
        refusal = roster.refusal_of("b:7001", roster.hosts, version)
        assert f"version {version} " in refusal and f"version {EXTENSION_VERSION}" in refusal
    (record,) = [one for one in caplog.records if one.levelno >= logging.ERROR]
    for told in ("b:7001 takes no part", "same release of django_hacache"):
        assert told in record.getMessage()
    assert roster.versions == {"b:7001": version}
    assert not roster.others  # it counts the same hosts
    assert not roster.refusal_of("b:7001", roster.hosts, EXTENSION_VERSION)
    assert not roster.versions
    roster.refusal_of("b:7001", roster.hosts, version)
    time[0] = SHOWN_S + 1
    assert not roster.versions


@pytest.mark.parametrize(
    ("told", "version"), [("1", 1), ("12", 12), ("", 0), ("-1", 0), ("\u00b2", 0), ("9" * 5000, 0)]
)
def test_the_version_of_whoever_opens_a_stream_is_a_number_or_none(told, version):
    assert credentials.version_of([("hacache-addr", "b:7001"), ("hacache-version", told)]) == version
    assert credentials.version_of([]) == 0


def test_a_change_of_what_nodes_say_to_each_other_is_a_new_version_or_is_understood_by_both():
    """Fields that were taken for another meaning ended nodes of two releases in one cluster.

    When this fails: could a node of the release before take the new messages for something else, or miss what it must
    not miss? Then EXTENSION_VERSION grows, and such nodes refuse each other. Either way the digest is written anew.
    """
    described = descriptor_pb2.FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(described)
    digest = sha256(described.SerializeToString(deterministic=True)).hexdigest()[:16]
    assert (EXTENSION_VERSION, digest) == (3, "758f70eecc1ef371")


def test_a_node_with_another_list_gets_no_stream_and_both_sides_know():
    port = free_port()
    here, there = Host("http", "127.0.0.1", 1), Host("http", "127.0.0.1", port)
    config = replace(config_of(port), reconnect_lower_ms=1, reconnect_upper_ms=2, hosts=(here, there))
    larger = replace(config, hosts=(here, there, D))
    theirs, ours = Roster(config), Roster(larger)
    events = Events(there.addr)
    events.greeting = lambda: pb.Ack(
        mgmt_ack=pb.MgmtAck(
            leader_info=pb.LeaderInfo(
                node_addr=there.addr, hosts=theirs.hosts, extension_version=EXTENSION_VERSION
            )
        )
    )

    async def scenario():
        stream_server = StreamServer(
            config, frozenset({here.addr}), events, max_request_bytes=1 << 20, roster=theirs
        )
        server = await start_server(config, stream_server)
        stream = OutboundStream(larger, here, there, events, random.Random(1), ours)
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


def test_nodes_of_two_versions_get_no_stream_to_each_other_and_both_know(monkeypatch):
    port = free_port()
    here, there = Host("http", "127.0.0.1", 1), Host("http", "127.0.0.1", port)
    config = replace(config_of(port), reconnect_lower_ms=1, reconnect_upper_ms=2, hosts=(here, there))
    theirs, ours = Roster(config), Roster(config)
    events = Events(there.addr)

    async def scenario():
        stream_server = StreamServer(
            config, frozenset({here.addr}), events, max_request_bytes=1 << 20, roster=theirs
        )
        server = await start_server(config, stream_server)
        newer = OutboundStream(config, here, there, events, random.Random(1), ours)
        said = dict(credentials.metadata(TOKEN, here.addr, ours.hosts))
        said[credentials.VERSION_KEY] = str(EXTENSION_VERSION + 1)
        with monkeypatch.context() as patched:
            patched.setattr(credentials, "metadata", lambda *_: tuple(said.items()))
            newer.start()
            try:
                await until(lambda: theirs.versions == {here.addr: EXTENSION_VERSION + 1})
                await until(lambda: len(events.lost) > 2)
            finally:
                await newer.close()
        # And one of this version finds a node of the one before.
        earlier = pb.LeaderInfo(node_addr=there.addr, extension_version=1)
        events.greeting = lambda: pb.Ack(mgmt_ack=pb.MgmtAck(leader_info=earlier))
        stream = OutboundStream(config, here, there, events, random.Random(1), ours)
        stream.start()
        try:
            await until(lambda: ours.versions == {there.addr: 1})
            assert not events.connected
        finally:
            await stream.close()
            await server.stop(None)

    asyncio.run(scenario())
