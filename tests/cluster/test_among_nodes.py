"""Clients and impostors at a node of a cluster of three."""

from __future__ import annotations

import grpc
import pytest

from django_hacache.node.transport.authentication.credentials import EXTENSION_VERSION, VERSION_KEY
from django_hacache.wire import cache_pb2 as pb
from tests.node.base_client.schema import base
from tests.node.streams import METADATA
from tests.waiting import eventually

VERSION = (VERSION_KEY, str(EXTENSION_VERSION))


@pytest.fixture
def leader(cluster):
    return cluster.leader()


@pytest.fixture
def follower(cluster, leader):
    return cluster.others(leader)[0]


@pytest.fixture
def other(cluster, leader, follower):
    return cluster.others(leader, follower)[0]


@pytest.fixture
def client(connect, follower):
    stream = connect(follower.addr, schema=base)
    stream.receive()
    return stream


@pytest.fixture
def as_impostor(connect, follower, other):
    """Say something as a program that has the token and calls itself a node, until that node takes its place again.

    Then again: what is said is over once a ping of a client on the same stream has its answer.
    """

    def say(requests):
        stream = connect(follower.addr, metadata=(*METADATA, ("hacache-addr", other.addr), VERSION))
        try:
            stream.receive()
            for request in requests:
                stream.send(request)
            ack = stream.ask(mgmt_req=pb.MgmtRequest(ping=pb.Ping()))
            while not ack.mgmt_ack.HasField("pong"):
                ack = stream.receive()
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.ABORTED
            return False
        return True

    return lambda *requests: eventually(lambda: say(requests))


@pytest.fixture(autouse=True)
def undisturbed(cluster, leader):
    """After each test the same node leads the same term, and every host serves."""
    before = [host.status().term for host in cluster.hosts]
    yield
    assert [host.status().term for host in cluster.hosts] == before
    assert cluster.leader() is leader
    cluster.wait()


def test_a_follower_tells_who_leads(connect, leader, follower):
    info = connect(follower.addr, schema=base).receive().mgmt_ack.leader_info
    assert (info.addr, info.has_quorum) == (f"http://{leader.addr}", True)


@pytest.mark.parametrize("level", ["level_quorum", "level_once", "level_leader"])
def test_changes_through_a_follower_are_acknowledged_at_each_level(client, level):
    insert = base.Insert(cache_name="default", entry=level, value=b"1", req_id="7")
    getattr(insert.ack_level, level).SetInParent()
    ack = client.ask(insert=insert).put_ack
    assert (ack.req_id, ack.mod_res) == ("7", True)


def test_a_client_reads_what_it_wrote_at_quorum_through_a_follower(client):
    client.ask(insert=base.Insert(cache_name="default", entry="a", value=b"mine", req_id="1"))
    assert client.ask(get=base.Get(cache_name="default", entry="a")).get_ack.value == b"mine"


def test_what_was_forwarded_is_answered_after_the_client_has_said_that_it_will_ask_no_more(client):
    for number in range(20):
        insert = base.Insert(cache_name="default", entry=str(number), value=b"1", req_id=str(number))
        client.send(base.CacheRequest(insert=insert))
    client.say_no_more()
    assert {ack.put_ack.req_id for ack in client.rest()} == {str(number) for number in range(20)}


def test_health_names_the_other_hosts(cluster, client, follower, leader):
    health = client.ask(mgmt_req=base.MgmtRequest(health=base.Health())).mgmt_ack.health_ack
    assert health.state.WhichOneof("oneof") == "follower"
    assert health.leader.addr == f"http://{leader.addr}"
    hosts = {host.addr: host.connected for host in health.host_health}
    assert hosts == {f"http://{host.addr}": True for host in cluster.others(follower)}


@pytest.mark.parametrize(
    "request_",
    [
        {"mgmt_req": pb.MgmtRequest(leader_req=pb.LeaderReq(election_ts=1, term=99, last_index=10**9))},
        {"mgmt_req": pb.MgmtRequest(leader_ack=pb.LeaderAck(election_ts=1, term=99))},
        {"append": pb.Append(term=99, commit_index=10**9)},
        {"snapshot_chunk": pb.SnapshotChunk(term=99, transfer="1")},
    ],
    ids=lambda request: next(iter(request)),
)
def test_a_message_that_another_node_has_signed_is_ignored(as_impostor, leader, follower, request_):
    assert as_impostor(
        *(
            pb.CacheRequest(sender=pb.Sender(addr=signature, incarnation="1"), **request_)
            for signature in (leader.addr, follower.addr, "127.0.0.1:1", "")
        )
    )


def test_a_program_that_calls_itself_one_of_the_hosts_is_an_error_in_the_log(client, follower, other):
    for candidate in (f"http://{other.addr}", f"http://{other.addr}", "http://127.0.0.1:1"):
        request = base.MgmtRequest(leader_req=base.LeaderReq(addr=candidate, election_ts=2**62))
        client.ask(mgmt_req=request)
    said = [line for line in follower.log.read_text().splitlines() if "speaks the base protocol only" in line]
    assert [other.addr in line for line in said] == [True]
    assert " ERROR " in said[0]


def test_a_message_of_another_generation_is_ignored(as_impostor, other):
    sender = pb.Sender(addr=other.addr, incarnation="1", generation=pb.Generation(number=1, id="no such"))
    assert as_impostor(pb.CacheRequest(sender=sender, append=pb.Append(term=1, commit_index=10**9)))


def test_the_nodes_speak_on_when_an_impostor_has_gone(cluster, connect, leader, follower, other):
    stream = connect(leader.addr, metadata=(*METADATA, ("hacache-addr", follower.addr), VERSION))
    stream.receive()
    stream.close()
    follower.worker.set("after", 1)
    assert follower.worker.get("after") == 1
    assert eventually(lambda: other.worker.get("after") == 1)
    assert eventually(lambda: all(host.connected for host in follower.status().hosts))
