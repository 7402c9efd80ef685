"""How many programs outside the cluster have streams, and who gives way."""

import asyncio
import logging
from typing import Any

import grpc
import pytest

from django_hacache.node.log_throttle import LogThrottle
from django_hacache.node.transport.streams.clients import QUIET_S, STREAMS_MAX, Clients
from django_hacache.wire import cache_pb2 as pb


class Stream:
    def __init__(self):
        self.replaced = asyncio.Event()


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def full(clock):
    """All places are taken, by `streams` in the order in which they came."""
    known: Any = Clients(LogThrottle(logging.getLogger("test")), clock)
    known.streams = [Stream() for _ in range(STREAMS_MAX)]
    for stream in known.streams:
        clock.now += 0.1
        assert known.enter(stream)
        known.greeted(stream)
    return known


def test_a_client_more_than_there_are_places_is_refused_until_one_leaves(full):
    assert not full.enter(Stream())
    full.leave(full.streams[5])
    assert full.enter(Stream())
    assert not full.enter(Stream())
    assert not any(stream.replaced.is_set() for stream in full.streams)


def test_who_does_not_take_the_greeting_keeps_its_place_and_gives_it_to_nobody(clock):
    known: Any = Clients(LogThrottle(logging.getLogger("test")), clock)
    coming = [Stream() for _ in range(STREAMS_MAX)]
    assert all(map(known.enter, coming))
    clock.now += 2 * QUIET_S
    assert not known.enter(Stream())
    assert len(known) == STREAMS_MAX
    known.leave(coming[3])
    assert known.enter(Stream())


def test_the_quietest_one_gives_its_place_to_a_new_one(full, clock):
    clock.now += QUIET_S
    full.heard(full.streams[0])
    later = Stream()
    assert full.enter(later)
    assert [stream.replaced.is_set() for stream in full.streams].index(True) == 1
    assert len(full) == STREAMS_MAX
    full.leave(full.streams[1])  # its end is told as well
    assert len(full) == STREAMS_MAX


def test_one_that_has_left_is_not_heard_any_more(full):
    full.leave(full.streams[0])
    full.heard(full.streams[0])
    assert len(full) == STREAMS_MAX - 1


def test_a_node_refuses_a_client_too_many_and_serves_the_others(connect):
    others = [connect() for _ in range(STREAMS_MAX)]
    for stream in others:
        stream.receive()
    assert connect().end() is grpc.StatusCode.RESOURCE_EXHAUSTED
    for stream in others:
        assert stream.ask(mgmt_req=pb.MgmtRequest(ping=pb.Ping())).mgmt_ack.HasField("pong")
