"""A program built from the base schema alone talks to a node."""

from __future__ import annotations

from contextlib import closing

import pytest

from django_hacache.replica.replica import Replica
from django_hacache.values import serializers
from tests.node.base_client.schema import base

LEVELS = ["level_quorum", "level_once", "level_leader", None]


@pytest.fixture
def client(connect):
    stream = connect(schema=base)
    stream.receive()
    return stream


def level_of(name):
    return base.AckLevel(**{name: base.Empty()} if name else {})


def get(client, entry):
    return client.ask(get=base.Get(cache_name="default", entry=entry)).get_ack


def manage(client, **request):
    return client.ask(mgmt_req=base.MgmtRequest(**request)).mgmt_ack


def test_the_first_message_tells_who_leads(node, connect):
    info = connect(schema=base).receive().mgmt_ack.leader_info
    assert (info.addr, info.has_quorum) == (f"http://{node.addr}", True)
    assert info.election_ts > 0


@pytest.mark.parametrize("level", LEVELS)
def test_an_entry_is_inserted_read_and_removed_at_each_level(client, level):
    entry = f"entry at {level}"
    request = base.Insert(
        cache_name="default", entry=entry, value=b"1", req_id="first", ack_level=level_of(level)
    )
    ack = client.ask(insert=request).put_ack
    assert (ack.req_id, ack.mod_res) == ("first", True)
    # The levels below quorum do not wait for the replica; what follows at quorum does.
    request.value, request.req_id = b"2", "second"
    request.ack_level.CopyFrom(level_of("level_quorum"))
    client.ask(insert=request)
    found = get(client, entry)
    assert (found.cache_name, found.entry, found.value) == ("default", entry, b"2")
    request = base.Remove(cache_name="default", entry=entry, req_id="third", ack_level=level_of(level))
    ack = client.ask(remove=request).del_ack
    assert (ack.req_id, ack.mod_res) == ("third", True)


def test_what_is_absent_is_removed(client):
    request = base.Remove(cache_name="default", entry="never there", req_id="1")
    ack = client.ask(remove=request).del_ack
    assert (ack.req_id, ack.mod_res) == ("1", True)


def test_the_value_is_absent_on_a_miss_and_present_where_it_is_empty(client):
    missed = get(client, "never there")
    assert (missed.cache_name, missed.entry, missed.HasField("value")) == ("default", "never there", False)
    client.ask(insert=base.Insert(cache_name="default", entry="empty", req_id="1"))
    found = get(client, "empty")
    assert (found.HasField("value"), found.value) == (True, b"")


def test_put_and_del_are_acknowledged_with_their_req_id(client):
    put = client.ask(put=base.Put(cache_name="default", entry="a", value=b"1", req_id="7")).put_ack
    assert (put.req_id, put.mod_res) == ("7", True)
    deleted = client.ask(**{"del": base.Del(cache_name="default", entry="a", req_id="8")}).del_ack
    assert (deleted.req_id, deleted.mod_res) == ("8", True)


def test_put_and_del_without_a_req_id_are_acknowledged_without_one(client):
    put = client.ask(put=base.Put(cache_name="default", entry="a", value=b"1")).put_ack
    assert (put.HasField("req_id"), put.mod_res) == (False, True)
    deleted = client.ask(**{"del": base.Del(cache_name="default", entry="a")}).del_ack
    assert (deleted.HasField("req_id"), deleted.mod_res) == (False, True)


def test_changes_take_effect_in_the_order_of_their_stream(client):
    client.ask(put=base.Put(cache_name="default", entry="ordered", value=b"put"))
    insert = base.Insert(cache_name="default", entry="ordered", value=b"inserted", req_id="1")
    assert client.ask(insert=insert).put_ack.mod_res
    assert get(client, "ordered").value == b"inserted"


def test_the_same_req_id_on_two_streams_names_two_changes(connect):
    for value in (b"first", b"second"):
        stream = connect(schema=base)
        stream.receive()
        stream.ask(insert=base.Insert(cache_name="default", entry="shared id", value=value, req_id="1"))
        assert get(stream, "shared id").value == value


def test_a_ping_is_answered_by_a_pong(client):
    assert manage(client, ping=base.Ping()).WhichOneof("oneof") == "pong"


def test_health_tells_the_state_the_leader_and_the_other_hosts(client, node):
    health = manage(client, health=base.Health()).health_ack
    assert health.quorum
    assert health.state.WhichOneof("oneof") == "leader"
    assert (health.leader.addr, health.leader.connected) == (f"http://{node.addr}", True)
    assert list(health.host_health) == []


CANDIDATE = "http://127.0.0.1:1"


@pytest.mark.parametrize("election_ts", [1, 2**62])
@pytest.mark.parametrize("name", ["leader_req", "leader_dead"])
def test_a_program_that_wants_to_lead_learns_who_has_asked_before_it(client, node, name, election_ts):
    request = {
        "leader_req": base.LeaderReq(addr=CANDIDATE, election_ts=election_ts),
        "leader_dead": base.LeaderDead(vote_host=CANDIDATE, election_ts=election_ts),
    }
    info = manage(client, **{name: request[name]}).leader_info
    assert info.addr == f"http://{node.addr}"
    assert info.election_ts < election_ts


@pytest.mark.parametrize(
    "request_",
    [
        {"leader_req_ack": base.LeaderReqAck(addr="127.0.0.1:1", election_ts=1)},
        {"leader_ack": base.LeaderAck(addr="127.0.0.1:1", election_ts=1)},
        {"leader_switch": base.LeaderSwitch(vote_host="127.0.0.1:1", election_ts=1)},
        {"leader_switch_priority": base.LeaderSwitchPriority(vote_host="127.0.0.1:1", election_ts=1)},
        {"leader_switch_ack": base.LeaderSwitchAck(addr="127.0.0.1:1")},
    ],
    ids=lambda request: next(iter(request)),
)
def test_other_leadership_messages_are_answered_by_silence_and_change_nothing(client, node, request_):
    # More than a client may leave unanswered: silence must count as an answer.
    for _ in range(300):
        client.send(base.CacheRequest(mgmt_req=base.MgmtRequest(**request_)))
    health = manage(client, health=base.Health()).health_ack
    assert health.leader.addr == f"http://{node.addr}"


class Program:
    """Answers each word about a leader with one of its own, as a real program of the base schema does."""

    def __init__(self, stream):
        self.stream = stream
        self.heard = 0

    def read(self):
        ack = self.stream.receive()
        if ack.mgmt_ack.WhichOneof("oneof") == "leader_info":
            self.heard += 1
            info = ack.mgmt_ack.leader_info
            priority = base.LeaderSwitchPriority(vote_host=info.addr, election_ts=info.election_ts)
            self.stream.send(base.CacheRequest(mgmt_req=base.MgmtRequest(leader_switch_priority=priority)))
            agreed = base.LeaderReqAck(addr=info.addr, election_ts=info.election_ts)
            self.stream.send(base.CacheRequest(mgmt_req=base.MgmtRequest(leader_req_ack=agreed)))
        return ack


def test_a_program_that_answers_each_word_about_the_leader_starts_no_endless_talk(connect):
    program = Program(connect(schema=base))
    program.read()
    request = base.LeaderReq(addr=CANDIDATE, election_ts=2**62)
    program.stream.send(base.CacheRequest(mgmt_req=base.MgmtRequest(leader_req=request)))
    program.read()
    for _ in range(20):
        program.stream.send(base.CacheRequest(mgmt_req=base.MgmtRequest(ping=base.Ping())))
        assert program.read().mgmt_ack.WhichOneof("oneof") == "pong"
    assert program.heard == 2


@pytest.mark.parametrize("value", [serializers.encode(1), serializers.encode(["forged"]), b"", b"text"])
def test_whatever_a_program_stores_it_gets_back_and_django_never_takes_it_for_a_value(client, node, value):
    insert = base.Insert(cache_name="default", entry="outside", value=value, req_id="1")
    assert client.ask(insert=insert).put_ack.mod_res
    assert get(client, "outside").value == value
    with closing(Replica.open(node.location, writable=False, map_size=1 << 30)) as replica:
        stored = bytes(replica.get("default", "outside"))
    with pytest.raises(serializers.EncodingError):
        serializers.decode(stored)


def test_an_error_is_a_sentence_that_a_base_program_can_show(client):
    error = client.ask(get=base.Get(cache_name="nobody's", entry="a")).error.error
    assert "nobody's" in error
    assert "default" in error


def test_what_was_asked_is_answered_after_the_program_has_said_that_it_will_ask_no_more(connect):
    stream = connect(schema=base)
    for number in range(50):
        insert = base.Insert(cache_name="default", entry="a", value=b"1", req_id=str(number))
        stream.send(base.CacheRequest(insert=insert))
    stream.say_no_more()
    _greeting, *answers = stream.rest()
    assert [ack.put_ack.req_id for ack in answers] == [str(number) for number in range(50)]


def test_a_node_greets_with_the_caches_that_it_serves(connect):
    """By that its peers know which caches are in nobody's settings any more."""
    greeting = connect().receive().mgmt_ack.leader_info
    assert {"default", "pages"} & set(greeting.caches)
    assert "view" not in greeting.caches
