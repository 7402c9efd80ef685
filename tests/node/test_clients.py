"""A program that speaks the base protocol to a node, and programs that mean no good."""

from __future__ import annotations

import os
import queue
import socket
import tempfile
from pathlib import Path

import grpc
import pytest

from django_hacache import status
from django_hacache.link import framing
from django_hacache.wire import cache_pb2 as pb
from tests.node_process import TOKEN, NodeProcess

LEVELS = [
    pb.AckLevel(),
    *(pb.AckLevel(**{f"level_{name}": pb.Empty()}) for name in ("quorum", "once", "leader")),
]


class Client:
    """One stream; requests are sent as they are, answers come back parsed."""

    def __init__(self, addr, metadata=(("authorization", TOKEN),)):
        options = [("grpc.max_send_message_length", 200 << 20)]
        self._channel = grpc.insecure_channel(addr, options)
        self._requests = queue.SimpleQueue()
        self._call = self._channel.stream_stream("/cache.Cache/StreamValues")(
            iter(self._requests.get, None), metadata=metadata
        )

    def send(self, request):
        self._requests.put(request if isinstance(request, bytes) else request.SerializeToString())

    def receive(self):
        return pb.Ack.FromString(next(self._call))

    def ask(self, **request):
        self.send(pb.CacheRequest(**request))
        return self.receive()

    def close(self):
        self._requests.put(None)
        self._call.cancel()
        self._channel.close()


@pytest.fixture(scope="module")
def node():
    with tempfile.TemporaryDirectory(prefix="node-") as directory:
        node = NodeProcess.start(Path(directory), "tests.cache.site")
        yield node
        node.stop()


@pytest.fixture
def connect(node):
    clients = []

    def connected(**arguments):
        clients.append(Client(node.addr, **arguments))
        return clients[-1]

    yield connected
    for client in clients:
        client.close()


@pytest.fixture
def client(connect):
    client = connect()
    client.receive()
    return client


@pytest.fixture(autouse=True)
def unharmed(node):
    """After each test the node is the same process, in the same term, of bounded size, and it answers."""
    before = status._ask_node(node.location, 5)
    yield
    assert node.process.poll() is None
    after = status._ask_node(node.location, 5)
    assert (after.term, after.quorum) == (before.term, True)
    resident = Path(f"/proc/{node.process.pid}/status").read_text().partition("VmRSS:")[2].split()[0]
    assert int(resident) < 700_000


def ping(client):
    return client.ask(mgmt_req=pb.MgmtRequest(ping=pb.Ping())).mgmt_ack.WhichOneof("method")


def insert(name="default", entry="key", value=b"value", **more):
    return pb.Insert(cache_name=name, entry=entry, value=value, req_id="1", **more)


def test_the_first_message_tells_who_leads(node, connect):
    info = connect().receive().mgmt_ack.leader_info
    assert (info.addr, info.has_quorum) == (node.addr, True)


@pytest.mark.parametrize("level", LEVELS)
def test_insert_get_and_remove_at_each_level(client, level):
    ack = client.ask(insert=insert(ack_level=level)).put_ack
    assert (ack.req_id, ack.mod_res) == ("1", True)
    get = pb.Get(cache_name="default", entry="key")
    assert client.ask(get=get).get_ack.value == b"value"
    remove = pb.Remove(cache_name="default", entry="key", req_id="1", ack_level=level)
    ack = client.ask(remove=remove).del_ack
    assert (ack.req_id, ack.mod_res) == ("1", True)
    missed = client.ask(get=get).get_ack
    assert (missed.entry, missed.HasField("value")) == ("key", False)


def test_put_and_del_are_acknowledged_without_a_req_id(client):
    put = client.ask(put=pb.Put(cache_name="default", entry="key", value=b"1")).put_ack
    assert (put.HasField("req_id") and put.req_id, put.mod_res) in {("", True), (False, True)}
    deleted = client.ask(**{"del": pb.Del(cache_name="default", entry="key", req_id="7")}).del_ack
    assert (deleted.req_id, deleted.mod_res) == ("7", True)


def test_ping_and_health(client, node):
    assert ping(client) == "pong"
    health = client.ask(mgmt_req=pb.MgmtRequest(health=pb.Health())).mgmt_ack.health_ack
    assert health.quorum
    assert health.state.WhichOneof("value") == "leader"
    assert health.leader.addr == node.addr


@pytest.mark.parametrize(
    "request_",
    [
        pb.MgmtRequest(leader_req=pb.LeaderReq(addr="evil:1", election_ts=1, term=99)),
        pb.MgmtRequest(leader_ack=pb.LeaderAck(addr="evil:1", election_ts=1, term=99)),
        pb.MgmtRequest(leader_dead=pb.LeaderDead(vote_host="evil:1")),
        pb.MgmtRequest(leader_switch=pb.LeaderSwitch(vote_host="evil:1")),
    ],
)
def test_leadership_messages_of_a_client_are_answered_by_who_leads(client, node, request_):
    assert client.ask(mgmt_req=request_).mgmt_ack.leader_info.addr == node.addr


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("authorization", "wrong"),),
        (("authorization", ""),),
        (("authorization", TOKEN), ("authorization", TOKEN)),
        (("authorization", f"Bearer {TOKEN}"),),
    ],
)
def test_without_the_token_nothing_is_served(connect, metadata):
    client = connect(metadata=metadata)
    with pytest.raises(grpc.RpcError) as refused:
        client.receive()
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_node_that_no_one_listed_is_refused(connect):
    client = connect(metadata=(("authorization", TOKEN), ("hacache-addr", "evil:1")))
    with pytest.raises(grpc.RpcError) as refused:
        client.receive()
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


BIG = b"x" * (100 << 20)


@pytest.mark.parametrize(
    ("request_", "code", "named"),
    [
        ({}, pb.ERROR_INVALID, "no method"),
        ({"mgmt_req": pb.MgmtRequest()}, pb.ERROR_INVALID, "no method"),
        ({"insert": insert(name="nobody")}, pb.ERROR_UNKNOWN_CACHE, "nobody"),
        ({"get": pb.Get(cache_name="nobody")}, pb.ERROR_UNKNOWN_CACHE, "nobody"),
        ({"insert": insert(value=b"x" * (17 << 20))}, pb.ERROR_TOO_LARGE, str(17 << 20)),
        ({"insert": insert(value=BIG)}, pb.ERROR_TOO_LARGE, str(100 << 20)),
        ({"batch": pb.Batch(req_id="1")}, pb.ERROR_INVALID, "0 changes"),
        ({"append": pb.Append(term=99)}, pb.ERROR_INVALID, "append"),
        ({"snapshot_chunk": pb.SnapshotChunk(term=99)}, pb.ERROR_INVALID, "snapshot_chunk"),
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


def test_bytes_that_do_not_parse_end_their_stream_only(client, connect):
    broken = connect()
    broken.receive()
    broken.send(b"\xff\xff\xff garbage")
    with pytest.raises(grpc.RpcError) as ended:
        broken.receive()
    assert ended.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert ping(client) == "pong"


def test_deep_nesting_and_bundles_of_nothing_end_in_an_answer_or_the_end_of_the_stream(client, connect):
    nested = b""
    for _ in range(2000):
        nested = _bundled(nested)
    broken = connect()
    broken.receive()
    broken.send(nested)
    with pytest.raises(grpc.RpcError):
        broken.receive()
    assert ping(client) == "pong"


def _bundled(inner):
    """A CacheRequest whose bundle holds `inner`: tag of field 33, length, content."""
    length, encoded = len(inner), b""
    while True:
        length, low = length >> 7, length & 0x7F
        encoded += bytes([low | (0x80 if length else 0)])
        if not length:
            return b"\x8a\x02" + encoded + inner


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00", os.urandom(4096)])
def test_garbage_on_the_port_harms_nobody(node, client, garbage):
    host, _, port = node.addr.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(garbage)
    assert ping(client) == "pong"


def unix(node):
    raw = socket.socket(socket.AF_UNIX)
    raw.settimeout(20)
    raw.connect(str(node.location / "node.sock"))
    return raw


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", framing.frame(b"\xff\xff\xff"), b"\xff" * 64])
def test_garbage_on_the_socket_ends_that_connection_only(node, garbage):
    with unix(node) as healthy, unix(node) as raw:
        raw.sendall(garbage)
        assert raw.recv(1) == b""
        healthy.sendall(framing.frame(pb.CacheRequest().SerializeToString()))
        assert healthy.recv(4)


def test_a_huge_frame_on_the_socket_is_answered_and_the_connection_goes_on(node):
    huge = pb.CacheRequest(insert=insert(value=BIG)).SerializeToString()
    with unix(node) as raw:
        raw.sendall(framing.frame(huge))
        assert _answer(raw).error.code == pb.ERROR_TOO_LARGE
        raw.sendall(framing.frame(pb.CacheRequest(insert=insert(name="nobody")).SerializeToString()))
        assert _answer(raw).error.code == pb.ERROR_UNKNOWN_CACHE


def _answer(raw):
    length = int.from_bytes(raw.recv(4, socket.MSG_WAITALL), "big")
    return pb.Ack.FromString(raw.recv(length, socket.MSG_WAITALL))
