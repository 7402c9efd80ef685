"""Every message of the core survives the wire, in each of the forms that it may travel in."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_hacache.consensus import messages as core
from django_hacache.node.encoding import acks, codec, log_codec, signatures
from django_hacache.wire import cache_pb2 as pb

ADDR = "127.0.0.1:7001"

u64 = st.integers(0, 2**64 - 1)
terms = st.integers(1, 2**64 - 1)  # a heartbeat of term 0 is a base peer's
stamps = st.integers(-(2**63), 2**63 - 1)
names = st.text(max_size=20)
generations = st.none() | st.builds(core.Generation, u64, names)
entries = st.builds(core.Entry, u64, u64, st.binary(), names, st.binary())
ages = st.integers(0, log_codec.AGE_MS_MAX)
appends = st.lists(st.tuples(entries, ages), max_size=5).flatmap(
    lambda aged: st.builds(
        core.Append,
        u64,
        u64,
        u64,
        u64,
        st.just(tuple(entry for entry, _ in aged)),
        st.just(tuple(age for _, age in aged)),
    )
)
MESSAGES = {
    core.Probe: st.builds(core.Probe),
    core.ProbeReply: st.builds(core.ProbeReply),
    core.LeaderReq: st.builds(
        core.LeaderReq, stamps, u64, u64, u64, st.booleans(), st.booleans(), generations
    ),
    core.LeaderReqAck: st.builds(core.LeaderReqAck, stamps, u64, st.booleans(), st.booleans()),
    core.LeaderAck: st.builds(core.LeaderAck, stamps, u64),
    core.LeaderAckAck: st.builds(core.LeaderAckAck, u64),
    core.LeaderSwitch: st.builds(core.LeaderSwitch, names, stamps, u64),
    core.LeaderSwitchAck: st.builds(core.LeaderSwitchAck, u64),
    core.LeaderSwitchPriority: st.builds(core.LeaderSwitchPriority, names, stamps, u64),
    core.LeaderDead: st.builds(core.LeaderDead, names, stamps, u64),
    core.Ping: st.builds(core.Ping, terms, u64, u64, u64, u64, u64, names),
    core.Pong: st.builds(core.Pong, terms, u64, u64, u64, u64),
    core.Append: appends,
    core.AppendAck: st.builds(core.AppendAck, u64, st.booleans(), u64, u64, u64, st.booleans()),
}
CARRIED_BY_CHANGES = {core.Forward, core.ForwardReply}

levels = st.sampled_from(["level_leader", "level_once", "level_quorum", "level_all"]).map(
    lambda name: pb.AckLevel(**{name: pb.Empty()})
)
CHANGES = {
    "put": st.builds(pb.Put, cache_name=names, entry=names, value=st.binary(), req_id=names),
    "insert": st.builds(
        pb.Insert, entry=names, value=st.binary(), ttl_ms=u64, req_id=names, ack_level=levels
    ),
    "del": st.builds(pb.Del, cache_name=names, entry=names, req_id=names),
    "remove": st.builds(pb.Remove, cache_name=names, entry=names, req_id=names, ack_level=levels),
    "touch": st.builds(pb.Touch, entry=names, ttl_ms=u64, req_id=names, ack_level=levels),
    "increment": st.builds(pb.Increment, entry=names, delta=st.binary(), req_id=names, ack_level=levels),
    "clear": st.builds(pb.Clear, cache_name=names, req_id=names, ack_level=levels),
    "batch": st.builds(pb.Batch, req_id=names, ack_level=levels),
}


def over_the_wire(message):
    return type(message).FromString(message.SerializeToString())


def test_no_message_is_left_out():
    assert set(MESSAGES) | CARRIED_BY_CHANGES == set(get_args(core.Message))


@given(st.one_of(*MESSAGES.values()))
def test_a_message_is_the_same_as_a_request(message):
    request = codec.to_request(message, ADDR)
    assert codec.from_request(over_the_wire(request)) == message


@given(st.one_of(*MESSAGES.values()))
def test_a_message_that_travels_as_an_answer_is_the_same(message):
    ack = codec.to_ack(message, ADDR)
    if ack is not None:
        assert codec.from_ack(over_the_wire(ack)) == message


def test_heartbeats_and_votes_travel_as_answers_too():
    answers = {kind for kind in MESSAGES if codec.to_ack(_example(kind), ADDR) is not None}
    assert {core.Ping, core.Pong, core.LeaderReqAck, core.AppendAck} <= answers
    assert not {core.Append, core.LeaderReq, core.LeaderDead} & answers


def _example(kind):
    names_of = {"term", "seq", "sent_at_ms", "commit_index", "node_time_ms", "applied_index", "election_ts"}
    given = {
        name: "" if name == "vote_host" else True if name in {"success", "granted"} else 1
        for name, field in kind.__dataclass_fields__.items()
        if name in names_of or field.default.__class__.__name__ == "_MISSING_TYPE"
    }
    if kind is core.Append:
        given["entries"] = given["ages_ms"] = ()
    return kind(**given)


@given(st.builds(core.Sender, names, names, generations, st.booleans()))
def test_a_sender_is_the_same(sender):
    assert signatures.sender_from_wire(over_the_wire(signatures.sender_to_wire(sender))) == sender


@pytest.mark.parametrize("kind", CHANGES)
@settings(max_examples=25)
@given(data=st.data(), since=st.integers(1, 2**64 - 1), timeout=st.integers(1, 2**32 - 1))
def test_a_forwarded_change_keeps_what_it_says(kind, data, since, timeout):
    """But until when and since when: that is said by the node that forwards it."""
    change = data.draw(CHANGES[kind])
    command = pb.CacheRequest(
        **{kind: change}, timeout_ms=data.draw(st.integers(0, 9)), since_index=data.draw(st.integers(0, 9))
    )
    before = command.SerializeToString(deterministic=True)
    level = acks.level_of(change) or core.AckLevel.LEADER
    forward = core.Forward(change.req_id, command, level, since, timeout)
    assert codec.to_ack(forward, ADDR) is None
    arrived = codec.from_request(over_the_wire(codec.to_request(forward, ADDR)))
    assert acks.change_of(arrived.command) == change
    assert (arrived.req_id, arrived.level, arrived.since, arrived.timeout_ms) == (
        change.req_id,
        level,
        since,
        timeout,
    )
    # The change that waits at the sender is not the one that travels.
    assert command.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("kind", CHANGES)
@settings(max_examples=25)
@given(data=st.data(), index=u64, term=u64, effect=st.booleans(), value=st.none() | st.binary())
def test_the_outcome_of_a_change_is_the_same_for_the_node_that_forwarded_it(
    kind, data, index, term, effect, value
):
    change = data.draw(CHANGES[kind])
    outcome = pb.Outcome(mod_res=[effect] * (len(change.changes) if kind == "batch" else 1))
    if kind == "increment":
        outcome.reason = pb.REASON_NOT_AN_INTEGER
        if value is not None:
            outcome.value = value
    command = pb.CacheRequest(**{kind: change})
    reply = core.ForwardReply(change.req_id, index, term, outcome.SerializeToString(), command=command)
    assert codec.to_request(reply, ADDR) is None
    arrived = codec.from_ack(over_the_wire(codec.to_ack(reply, ADDR)))
    assert (arrived.req_id, arrived.index, arrived.term) == (change.req_id, index, term)
    assert pb.Outcome.FromString(arrived.outcome) == outcome
    assert arrived.refusal is None


@pytest.mark.parametrize("refusal", core.Refusal)
def test_a_refusal_is_the_same_and_says_why(refusal):
    ack = codec.to_ack(core.ForwardReply("7", refusal=refusal, command=pb.CacheRequest()), ADDR)
    assert len(ack.error.error.split()) > 2
    said = codec.from_ack(over_the_wire(ack))
    assert said == core.ForwardReply("7", refusal=refusal, reason=ack.error.error)


def test_what_is_said_beside_a_refusal_reaches_who_asked():
    refused = core.ForwardReply(
        "7", refusal=core.Refusal.TOO_LARGE, command=pb.CacheRequest(), reason="by far"
    )
    assert codec.from_ack(over_the_wire(codec.to_ack(refused, ADDR))).reason == "by far"


@pytest.mark.parametrize(
    ("change", "level"),
    [
        (pb.Insert(), core.AckLevel.QUORUM),
        (pb.Insert(ack_level=pb.AckLevel()), core.AckLevel.QUORUM),
        (pb.Remove(ack_level=pb.AckLevel(level_once=pb.Empty())), core.AckLevel.ONCE),
        (pb.Batch(ack_level=pb.AckLevel(level_all=pb.Empty())), core.AckLevel.ALL),
        (pb.Clear(ack_level=pb.AckLevel(level_direct=pb.Empty())), None),
        (pb.Put(), None),
        (pb.Del(), None),
    ],
)
def test_an_absent_level_is_quorum_and_base_changes_without_one_do_not_wait(change, level):
    assert acks.level_of(change) is level


@pytest.mark.parametrize(
    "ack",
    [pb.Ack(), pb.Ack(error=pb.Error(error="what a base program says")), pb.Ack(get_ack=pb.GetAck())],
)
def test_answers_that_are_no_message_of_the_core_are_none(ack):
    assert codec.from_ack(ack) is None


def test_requests_that_are_no_message_of_the_core_are_none():
    health = pb.CacheRequest(mgmt_req=pb.MgmtRequest(health=pb.Health()))
    for request in (pb.CacheRequest(), pb.CacheRequest(mgmt_req=pb.MgmtRequest()), health):
        assert codec.from_request(request) is None


def test_the_heartbeat_of_a_base_peer_is_a_probe():
    assert codec.from_request(pb.CacheRequest(mgmt_req=pb.MgmtRequest(ping=pb.Ping()))) == core.Probe()
    assert codec.from_ack(pb.Ack(mgmt_ack=pb.MgmtAck(pong=pb.Pong()))) == core.ProbeReply()


def test_an_age_that_nothing_can_have_is_cut():
    entry = log_codec.entry_to_wire(core.Entry(1, 1), 2**64 - 1)
    append = codec.from_request(pb.CacheRequest(append=pb.Append(term=1, entries=[entry])))
    assert append.ages_ms == (log_codec.AGE_MS_MAX,)
