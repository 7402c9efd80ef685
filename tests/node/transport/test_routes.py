"""Heartbeats that arrive over two connections."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from django_hacache.consensus.messages import Generation, Ping, Pong, Probe, Sender
from django_hacache.node.encoding import signatures
from django_hacache.node.transport.routes import Routes
from django_hacache.wire import cache_pb2 as pb

A = Sender("a:1", "incarnation", None, False)
B = Sender("b:1", "incarnation", None, False)
PING = Ping(term=3, seq=7, sent_at_ms=1000, commit_index=4)
PONG = Pong(term=3, seq=7, sent_at_ms=1000, node_time_ms=1001, applied_index=4)


@pytest.fixture
def routes() -> Routes:
    return Routes("me:1", {}, {}, lambda: A)


@pytest.mark.parametrize("message", [PING, PONG])
def test_the_second_copy_of_a_heartbeat_is_known(routes: Routes, message: Ping | Pong) -> None:
    assert [routes.is_second_copy(A, message) for _ in range(3)] == [False, True, True]


@pytest.mark.parametrize("message", [PING, PONG])
def test_a_copy_that_took_the_slower_way_is_known_after_later_heartbeats(
    routes: Routes, message: Ping | Pong
) -> None:
    """It was answered, with twice the answers on a link that is slow."""
    for seq in range(7, 12):
        routes.is_second_copy(A, replace(message, seq=seq))

    assert all(routes.is_second_copy(A, replace(message, seq=seq)) for seq in range(7, 12))


@pytest.mark.parametrize("message", [PING, PONG])
def test_the_next_heartbeat_is_no_copy(routes: Routes, message: Ping | Pong) -> None:
    routes.is_second_copy(A, message)

    assert not routes.is_second_copy(A, replace(message, seq=8))


def test_the_heartbeats_of_two_peers_are_no_copies_of_each_other(routes: Routes) -> None:
    assert not routes.is_second_copy(A, PING)
    assert not routes.is_second_copy(B, PING)
    assert routes.is_second_copy(A, PING)


def test_a_peer_that_started_again_sends_no_copy(routes: Routes) -> None:
    routes.is_second_copy(A, PING)

    assert not routes.is_second_copy(Sender("a:1", "another", None, False), PING)


def test_a_ping_and_its_pong_are_no_copies_of_each_other(routes: Routes) -> None:
    assert not routes.is_second_copy(A, PING)
    assert not routes.is_second_copy(A, PONG)


def test_probes_have_no_number_and_all_count(routes: Routes) -> None:
    assert not any(routes.is_second_copy(A, Probe()) for _ in range(2))


def test_a_signature_is_the_same_field_of_requests_and_answers() -> None:
    encoded = signatures.encoded_sender(A)
    for kind in (pb.CacheRequest, pb.Ack):
        assert kind.FromString(encoded) == kind(sender=signatures.sender_to_wire(A))


def test_what_is_signed_again_says_nothing_of_who_signed_it_before() -> None:
    """A node that started over has no generation, and what waited may be sent once more."""
    sent: list[pb.CacheRequest] = []
    stream = SimpleNamespace(send=lambda request: sent.append(request) or True)
    signer = [A._replace(generation=Generation(1, "g"))]
    routes = Routes("me:1", {"b:1": cast("Any", stream)}, {}, lambda: signer[0])
    request = pb.CacheRequest(status=pb.Status())
    assert routes.send_request("b:1", request)
    signer[0] = A
    assert routes.send_request("b:1", request)
    assert sent[-1].sender == signatures.sender_to_wire(A)
