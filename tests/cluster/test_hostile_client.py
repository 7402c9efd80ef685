"""A client that says it is a member, with all that a member could say to break a cluster."""

from __future__ import annotations

import asyncio

import pytest

from django_hacache.consensus.config import digest_of
from django_hacache.node.transport.authentication import credentials
from django_hacache.wire import cache_pb2 as pb
from tests.node.lanes import hello_of, opened
from tests.node.streams import Stream
from tests.node_process import TOKEN

NODES = "the token of the nodes, which no client has"
LAST = 2**64 - 1


@pytest.fixture
def cluster(new_cluster):
    return new_cluster(3, CACHE_NODE_TOKEN=NODES)


def forged(victim, leader, status):
    """What would end elections, empty a replica, let it serve old values, keep it from electing, or make it elect."""
    term = status.term
    mgmt = pb.MgmtRequest
    return [
        pb.CacheRequest(mgmt_req=mgmt(leader_req=pb.LeaderReq(term=LAST, handover=True))),
        pb.CacheRequest(
            mgmt_req=mgmt(leader_req=pb.LeaderReq(term=term + 1, handover=True, last_index=1 << 40))
        ),
        pb.CacheRequest(mgmt_req=mgmt(leader_ack=pb.LeaderAck(term=term + 1))),
        pb.CacheRequest(
            mgmt_req=mgmt(ping=pb.Ping(term=term + 1, seq=1, sent_at=1, echo=1 << 50, lease_ms=86_400_000))
        ),
        pb.CacheRequest(mgmt_req=mgmt(leader_switch=pb.LeaderSwitch(vote_host=victim.addr, term=term))),
        pb.CacheRequest(mgmt_req=mgmt(leader_dead=pb.LeaderDead(vote_host=leader.addr, term=term))),
        pb.CacheRequest(append=pb.Append(term=term + 1, prev_index=1 << 40, prev_term=term, anew=True)),
        pb.CacheRequest(
            snapshot_chunk=pb.SnapshotChunk(term=term + 1, index=1 << 40, transfer="t", number=1, done=True)
        ),
    ]


def test_who_has_the_token_of_clients_cannot_act_as_a_member(cluster):
    leader = cluster.leader()
    victim, other = cluster.others(leader)
    victim.worker.set("key", "kept", ack="all")
    before = victim.status()
    as_member = credentials.metadata(TOKEN, leader.addr, [host.addr for host in cluster.hosts])

    stream = Stream(victim.addr, as_member)
    assert stream.end().name == "PERMISSION_DENIED"
    stream.close()

    stream = Stream(victim.addr)
    greeting = stream.receive().mgmt_ack.leader_info
    sender = pb.Sender(
        addr=leader.addr,
        incarnation="feedfacefeedface",
        generation=stream.ask(status=pb.Status(local=True)).status_ack.generation,
        hosts=digest_of([host.addr for host in cluster.hosts]),
    )
    for request in forged(victim, leader, before):
        request.sender.CopyFrom(sender)
        stream.send(request)
    stream.close()

    async def lane():
        reader, writer = await asyncio.open_connection("127.0.0.1", greeting.lane_port)
        answer = await opened(reader, writer, hello_of(leader.addr, victim.addr, greeting.lane_port))
        writer.close()
        return answer

    assert "token is wrong" in asyncio.run(lane()).error.error

    other.worker.set("other", 1, ack="all")
    after = victim.status()
    assert (after.term, after.leader) == (before.term, before.leader)
    assert victim.worker.get("key") == "kept"
