"""Programs that mean no good, or do not know what they do: each is told, and nothing else happens."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import grpc
import pytest

from django_hacache import status
from django_hacache.link import framing
from django_hacache.node.transport.authentication.credentials import EXTENSION_VERSION
from django_hacache.wire import cache_pb2 as pb
from tests.node.streams import METADATA
from tests.node_process import TOKEN

RESIDENT_KB_MAX = 900_000
BIG = b"x" * (15 << 20)


def _standing(node):
    seen = status.ask_node(node.location, 5)
    own = seen.hosts[0]
    return seen.term, seen.quorum, own.role, own.applied_index, own.commit_index, own.entries


@pytest.fixture(autouse=True)
def unharmed(node):
    """After each test the node is the same process in the same state, of bounded size, and it answers."""
    before = _standing(node)
    yield
    assert node.process.poll() is None
    assert _standing(node) == before
    resident = Path(f"/proc/{node.process.pid}/status").read_text().partition("VmRSS:")[2].split()[0]
    assert int(resident) < RESIDENT_KB_MAX


def ping(client):
    return client.ask(mgmt_req=pb.MgmtRequest(ping=pb.Ping())).mgmt_ack.WhichOneof("method")


def insert(name="default", entry="key", value=b"value", **more):
    return pb.Insert(cache_name=name, entry=entry, value=value, **{"req_id": "1", **more})


# who may speak


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("authorization", "wrong"),),
        (("authorization", ""),),
        (("authorization", TOKEN), ("authorization", TOKEN)),
        (("authorization", "wrong"), ("authorization", TOKEN)),
        (("authorization", f"Bearer {TOKEN}"),),
        (("authorization", TOKEN[:-1]),),
        (("authorization-bin", TOKEN.encode()),),
        (("token", TOKEN),),
    ],
)
def test_without_the_token_nothing_is_served_and_nothing_is_read(connect, metadata):
    stream = connect(metadata=metadata)
    stream.send(pb.CacheRequest(insert=insert()))
    with pytest.raises(grpc.RpcError) as refused:
        stream.receive()
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_node_that_nobody_listed_is_refused(connect):
    stream = connect(
        metadata=(*METADATA, ("hacache-addr", "127.0.0.1:1"), ("hacache-version", str(EXTENSION_VERSION)))
    )
    with pytest.raises(grpc.RpcError) as refused:
        stream.receive()
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "HA_HOSTS" in str(refused.value.details())


@pytest.mark.parametrize(
    "request_",
    [
        {"append": pb.Append(term=99, commit_index=9, entries=[pb.LogEntry(index=1, term=99)])},
        {"append_ack": pb.AppendAck(term=99, success=True, match_index=99)},
        {"snapshot_chunk": pb.SnapshotChunk(term=99, done=True)},
        {"snapshot_ack": pb.SnapshotAck(term=99)},
    ],
    ids=lambda request: next(iter(request)),
)
@pytest.mark.parametrize("sender", [None, pb.Sender(addr="127.0.0.1:1"), "the node itself"])
def test_messages_of_the_log_are_refused_from_whoever_is_no_node(client, node, request_, sender):
    if sender == "the node itself":
        sender = pb.Sender(addr=node.addr, incarnation="1")
    error = client.ask(**request_, sender=sender).error
    assert error.code == pb.ERROR_INVALID
    assert next(iter(request_)) in error.error


@pytest.mark.parametrize(
    "request_",
    [
        pb.MgmtRequest(leader_ack=pb.LeaderAck(addr="127.0.0.1:1", election_ts=1, term=99)),
        pb.MgmtRequest(leader_switch=pb.LeaderSwitch(vote_host="127.0.0.1:1", term=99)),
        pb.MgmtRequest(pong=pb.Pong(term=99, seq=1)),
        pb.MgmtRequest(leader_ack_ack=pb.LeaderAckAck(addr="127.0.0.1:1", term=99)),
    ],
    ids=lambda request: request.WhichOneof("method"),
)
def test_a_client_takes_no_part_in_elections(client, node, request_):
    client.send(pb.CacheRequest(mgmt_req=request_, sender=pb.Sender(addr=node.addr, incarnation="1")))
    assert ping(client) == "pong"


@pytest.mark.parametrize(
    "request_",
    [
        pb.MgmtRequest(leader_req=pb.LeaderReq(addr="127.0.0.1:1", election_ts=1, term=99)),
        pb.MgmtRequest(leader_dead=pb.LeaderDead(vote_host="127.0.0.1:1", election_ts=1, term=99)),
    ],
    ids=lambda request: request.WhichOneof("method"),
)
def test_a_client_that_asks_for_leadership_learns_who_leads(client, node, request_):
    ack = client.ask(mgmt_req=request_, sender=pb.Sender(addr=node.addr, incarnation="1"))
    assert ack.mgmt_ack.leader_info.addr == f"http://{node.addr}"


# what may be said


@pytest.mark.parametrize(
    ("request_", "code", "named"),
    [
        ({}, pb.ERROR_INVALID, "no method"),
        ({"mgmt_req": pb.MgmtRequest()}, pb.ERROR_INVALID, "no method"),
        ({"insert": insert(name="nobody")}, pb.ERROR_UNKNOWN_CACHE, "nobody"),
        ({"insert": insert(name="")}, pb.ERROR_UNKNOWN_CACHE, "''"),
        ({"get": pb.Get(cache_name="nobody")}, pb.ERROR_UNKNOWN_CACHE, "nobody"),
        ({"clear": pb.Clear(cache_name="nobody")}, pb.ERROR_UNKNOWN_CACHE, "nobody"),
        ({"insert": insert(value=b"x" * (9 << 20))}, pb.ERROR_TOO_LARGE, str(9 << 20)),
        ({"insert": insert(name="small", value=b"x" * 10_001)}, pb.ERROR_TOO_LARGE, "10001"),
        ({"put": pb.Put(cache_name="small", value=b"x" * 10_001)}, pb.ERROR_TOO_LARGE, "MAX_VALUE_SIZE"),
        ({"insert": insert(value=BIG)}, pb.ERROR_TOO_LARGE, str(10 << 20)),
        ({"insert": insert(entry="k" * (2 << 20))}, pb.ERROR_TOO_LARGE, str(2 << 20)),
        ({"insert": insert(req_id="1" * 1000)}, pb.ERROR_TOO_LARGE, "1000"),
        ({"increment": pb.Increment(cache_name="default", entry="a")}, pb.ERROR_INVALID, "delta"),
        ({"batch": pb.Batch(req_id="1")}, pb.ERROR_INVALID, "0 changes"),
        ({"batch": pb.Batch(changes=[pb.Change()])}, pb.ERROR_INVALID, "empty"),
        ({"batch": pb.Batch(changes=[pb.Change()] * 100_001)}, pb.ERROR_INVALID, "100001"),
        (
            {"batch": pb.Batch(changes=[pb.Change(insert=insert()), pb.Change(insert=insert("no"))])},
            pb.ERROR_UNKNOWN_CACHE,
            "no",
        ),
        ({"bundle": [pb.CacheRequest(insert=insert())]}, pb.ERROR_INVALID, "bundle"),
        ({"bundle": [pb.CacheRequest()] * 100_000}, pb.ERROR_INVALID, "bundle"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_granted_is_answered_by_its_cause_and_the_stream_goes_on(
    client, request_, code, named
):
    error = client.ask(**request_).error
    assert error.code == code
    assert named in error.error
    assert ping(client) == "pong"


def test_the_sentence_about_a_huge_name_is_short(client):
    error = client.ask(insert=insert(name="n" * (9 << 20))).error
    assert error.code == pb.ERROR_UNKNOWN_CACHE
    assert len(error.error) < 1000


def test_an_error_names_the_request_that_failed(client):
    assert client.ask(insert=insert(name="nobody", req_id="42")).error.req_id == "42"


def test_a_message_beyond_what_grpc_takes_ends_its_stream_only(client, connect):
    broken = connect()
    broken.send(b"x" * (19 << 20))
    assert broken.end() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert ping(client) == "pong"


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff garbage", os.urandom(1000) + b"\xff", b"\x0a\xff"])
def test_bytes_that_do_not_parse_end_their_stream_only(client, connect, garbage):
    broken = connect()
    broken.send(garbage)
    assert broken.end() is grpc.StatusCode.INVALID_ARGUMENT
    assert ping(client) == "pong"


def test_bytes_that_do_not_parse_end_the_stream_also_while_its_first_answer_is_on_its_way(connect):
    for _ in range(40):
        broken = connect()
        broken.send(b"\xff\xff\xff garbage")
        assert broken.end() is grpc.StatusCode.INVALID_ARGUMENT


def test_bundles_nested_without_end_end_their_stream_only(client, connect):
    nested = b""
    for _ in range(10_000):
        nested = b"\x8a\x02" + _varint(len(nested)) + nested
    broken = connect()
    broken.send(nested)
    assert broken.end() is grpc.StatusCode.INVALID_ARGUMENT
    assert ping(client) == "pong"


def _varint(number):
    encoded = b""
    while True:
        number, low = number >> 7, number & 0x7F
        encoded += bytes([low | (0x80 if number else 0)])
        if not number:
            return encoded


def test_a_message_that_is_small_on_the_wire_and_large_in_memory_is_refused(client):
    client.send(b"\x8a\x02\x00" * (5 << 20))  # millions of empty requests
    assert client.receive().error.code == pb.ERROR_TOO_LARGE
    assert ping(client) == "pong"


def test_a_method_that_the_service_does_not_have_is_unimplemented(node):
    with grpc.insecure_channel(node.addr) as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary("/cache.Cache/Nothing")(b"", metadata=METADATA)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


# the port and the socket


def tcp(node):
    host, _, port = node.addr.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=20)


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x00\xff\x01\x00\x00\xfb\x03\x03" + bytes(200),  # a TLS client says hello
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 200,
        os.urandom(4096),
        b"",
    ],
    ids=["http1", "tls", "http2", "random", "nothing"],
)
def test_garbage_on_the_port_harms_nobody(node, client, garbage):
    with tcp(node) as raw:
        raw.sendall(garbage)
        assert ping(client) == "pong"


def test_a_thousand_connections_that_say_nothing_keep_nobody_out(node, connect):
    idle = [tcp(node) for _ in range(1000)]
    try:
        stream = connect()
        stream.receive()
        assert ping(stream) == "pong"
    finally:
        for one in idle:
            one.close()


def unix(node):
    raw = socket.socket(socket.AF_UNIX)
    raw.settimeout(20)
    raw.connect(str(node.location / "node.sock"))
    return raw


def answer(raw):
    length = int.from_bytes(raw.recv(4, socket.MSG_WAITALL), "big")
    return pb.Ack.FromString(raw.recv(length, socket.MSG_WAITALL))


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", framing.frame(b"\xff\xff\xff"), b"\xff" * 64])
def test_garbage_on_the_socket_ends_that_connection_only(node, garbage):
    with unix(node) as healthy, unix(node) as raw:
        raw.sendall(garbage)
        assert raw.recv(1) == b""
        healthy.sendall(framing.frame(pb.CacheRequest().SerializeToString()))
        assert answer(healthy).error.code == pb.ERROR_INVALID


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (pb.CacheRequest(insert=insert(value=BIG)), pb.ERROR_TOO_LARGE),
        (pb.CacheRequest(insert=insert(value=b"x" * (17 << 20))), pb.ERROR_TOO_LARGE),
        (pb.CacheRequest(insert=insert(name="nobody")), pb.ERROR_UNKNOWN_CACHE),
        (pb.CacheRequest(append=pb.Append(term=99)), pb.ERROR_INVALID),
        (pb.CacheRequest(bundle=[pb.CacheRequest()] * 100_000), pb.ERROR_INVALID),
    ],
    ids=["100 MB", "17 MB", "unknown", "append", "bundle"],
)
def test_on_the_socket_too_what_cannot_be_granted_is_answered_and_the_connection_goes_on(
    node, request_, code
):
    with unix(node) as raw:
        raw.sendall(framing.frame(request_.SerializeToString()))
        assert answer(raw).error.code == code
        ping = pb.CacheRequest(mgmt_req=pb.MgmtRequest(ping=pb.Ping()))
        raw.sendall(framing.frame(ping.SerializeToString()))
        assert answer(raw).mgmt_ack.HasField("pong")


def test_a_frame_that_never_ends_harms_nobody(node, client):
    with unix(node) as raw:
        raw.sendall((1 << 20).to_bytes(4, "big") + b"x" * 1000)
        assert ping(client) == "pong"
