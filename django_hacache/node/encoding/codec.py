"""Consensus messages as wire messages, and back. The only place that knows both vocabularies.

Each message can travel as a request on the stream that its sender opened, or as an answer on the one that its receiver
opened. Changes that are forwarded travel as the requests they are, and their outcomes as the answers they get.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_hacache.changes.codec import CHANGE_FIELDS
from django_hacache.consensus import messages as core
from django_hacache.node.encoding.acks import (
    CODES,
    DONE,
    ack_of_stored,
    change_of,
    level_of,
    refusal_ack,
)
from django_hacache.node.encoding.log_codec import append_ack_of, append_of, write_append, write_append_ack
from django_hacache.node.encoding.signatures import generation_from_wire, generation_to_wire
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable

# changes


def _encoded_forward(message: core.Forward) -> bytes:
    """The request that was forwarded, as it is. Of a field that stands twice the last one counts."""
    assert message.timeout_ms and message.since, "what is 0 is not encoded, and does not count"  # noqa: PT018
    later = pb.CacheRequest(timeout_ms=message.timeout_ms, since_index=message.since)
    encoded: bytes = message.command.SerializeToString()
    return encoded + later.SerializeToString()


def forward_of(request: pb.CacheRequest) -> core.Forward:
    change = change_of(request)
    level = level_of(change) or core.AckLevel.LEADER
    return core.Forward(change.req_id, request, level, request.since_index, request.timeout_ms)


def _reply_to_wire(message: core.ForwardReply) -> pb.Ack:
    if message.refusal is not None:
        return refusal_ack(message.req_id, message.refusal, message.reason)
    ack = ack_of_stored(message.command, message.req_id, message.outcome, message.index, message.term)
    return ack or refusal_ack(message.req_id, core.Refusal.OUTCOME_UNKNOWN)


def _reply_of_put(ack: pb.PutAck) -> core.ForwardReply:
    stored = DONE
    if not ack.mod_res or ack.reason or ack.HasField("value"):
        outcome = pb.Outcome(mod_res=[ack.mod_res], reason=ack.reason)
        if ack.HasField("value"):
            outcome.value = ack.value
        stored = outcome.SerializeToString()
    return core.ForwardReply(ack.req_id, ack.index, ack.term, stored)


def _reply_of_del(ack: pb.DelAck) -> core.ForwardReply:
    stored = DONE if ack.mod_res else pb.Outcome(mod_res=[False]).SerializeToString()
    return core.ForwardReply(ack.req_id, ack.index, ack.term, stored)


def _reply_of_batch(ack: pb.BatchAck) -> core.ForwardReply:
    outcome = pb.Outcome(mod_res=ack.mod_res)
    return core.ForwardReply(ack.req_id, ack.index, ack.term, outcome.SerializeToString())


# leadership


def _ping_to_wire(message: core.Ping) -> pb.Ping:
    return pb.Ping(
        term=message.term,
        seq=message.seq,
        sent_at=message.sent_at_ms,
        commit_index=message.commit_index,
        echo=message.echo_ms,
        lease_ms=message.lease_ms,
        admitted=message.admitted,
    )


def _ping_of(message: pb.Ping) -> core.Ping | core.Probe:
    if not message.term:
        return core.Probe()
    return core.Ping(
        message.term,
        message.seq,
        message.sent_at,
        message.commit_index,
        message.echo,
        message.lease_ms,
        message.admitted,
    )


def _pong_to_wire(message: core.Pong) -> pb.Pong:
    return pb.Pong(
        term=message.term,
        seq=message.seq,
        sent_at=message.sent_at_ms,
        node_time=message.node_time_ms,
        applied_index=message.applied_index,
    )


def _pong_of(message: pb.Pong) -> core.Pong | core.ProbeReply:
    if not message.term:
        return core.ProbeReply()
    return core.Pong(message.term, message.seq, message.sent_at, message.node_time, message.applied_index)


def _leader_req_to_wire(message: core.LeaderReq, addr: str) -> pb.LeaderReq:
    return pb.LeaderReq(
        addr=addr,
        election_ts=message.election_ts,
        term=message.term,
        last_index=message.last_index,
        last_term=message.last_term,
        pre_vote=message.pre_vote,
        handover=message.handover,
        forming=generation_to_wire(message.forming),
    )


def _leader_req_of(message: pb.LeaderReq) -> core.LeaderReq:
    return core.LeaderReq(
        message.election_ts,
        message.term,
        message.last_index,
        message.last_term,
        message.pre_vote,
        message.handover,
        generation_from_wire(message, "forming"),
    )


def _leader_req_ack_to_wire(message: core.LeaderReqAck, addr: str) -> pb.LeaderReqAck:
    return pb.LeaderReqAck(
        addr=addr,
        election_ts=message.election_ts,
        term=message.term,
        granted=message.granted,
        pre_vote=message.pre_vote,
    )


def _leader_req_ack_of(message: pb.LeaderReqAck) -> core.LeaderReqAck:
    return core.LeaderReqAck(message.election_ts, message.term, message.granted, message.pre_vote)


MGMT_TO_WIRE: dict[type[Any], tuple[str, Callable[[Any, str], Any]]] = {
    core.Probe: ("ping", lambda _m, _a: pb.Ping()),
    core.ProbeReply: ("pong", lambda _m, _a: pb.Pong()),
    core.Ping: ("ping", lambda m, _a: _ping_to_wire(m)),
    core.Pong: ("pong", lambda m, _a: _pong_to_wire(m)),
    core.LeaderReq: ("leader_req", _leader_req_to_wire),
    core.LeaderReqAck: ("leader_req_ack", _leader_req_ack_to_wire),
    core.LeaderAck: (
        "leader_ack",
        lambda m, a: pb.LeaderAck(addr=a, election_ts=m.election_ts, term=m.term),
    ),
    core.LeaderAckAck: ("leader_ack_ack", lambda m, a: pb.LeaderAckAck(addr=a, term=m.term)),
    core.LeaderSwitch: (
        "leader_switch",
        lambda m, _a: pb.LeaderSwitch(vote_host=m.vote_host, election_ts=m.election_ts, term=m.term),
    ),
    core.LeaderSwitchAck: ("leader_switch_ack", lambda m, a: pb.LeaderSwitchAck(addr=a, term=m.term)),
    core.LeaderSwitchPriority: (
        "leader_switch_priority",
        lambda m, _a: pb.LeaderSwitchPriority(vote_host=m.vote_host, election_ts=m.election_ts, term=m.term),
    ),
    core.LeaderDead: (
        "leader_dead",
        lambda m, _a: pb.LeaderDead(vote_host=m.vote_host, election_ts=m.election_ts, term=m.term),
    ),
}

MGMT_FROM_WIRE: dict[str, Callable[[Any], core.Message]] = {
    "ping": _ping_of,
    "pong": _pong_of,
    "leader_req": _leader_req_of,
    "leader_req_ack": _leader_req_ack_of,
    "leader_ack": lambda m: core.LeaderAck(m.election_ts, m.term),
    "leader_ack_ack": lambda m: core.LeaderAckAck(m.term),
    "leader_switch": lambda m: core.LeaderSwitch(m.vote_host, m.election_ts, m.term),
    "leader_switch_ack": lambda m: core.LeaderSwitchAck(m.term),
    "leader_switch_priority": lambda m: core.LeaderSwitchPriority(m.vote_host, m.election_ts, m.term),
    "leader_dead": lambda m: core.LeaderDead(m.vote_host, m.election_ts, m.term),
}

# Those of MgmtAck; the rest travels as a request only.
MGMT_ACKS = frozenset({"ping", "pong", "leader_req_ack", "leader_ack_ack", "leader_switch_ack"})


def to_request(message: core.Message, addr: str) -> pb.CacheRequest | None:
    """The message as a request; None for the answer to a change, which travels as an answer only."""
    match message:
        case core.Append():
            request = pb.CacheRequest()
            write_append(request.append, message)
            return request
        case core.AppendAck():
            request = pb.CacheRequest()
            write_append_ack(request.append_ack, message)
            return request
        case core.Forward():
            return pb.CacheRequest.FromString(_encoded_forward(message))
        case core.ForwardReply():
            return None
    name, convert = MGMT_TO_WIRE[type(message)]
    request = pb.CacheRequest()
    getattr(request.mgmt_req, name).CopyFrom(convert(message, addr))
    return request


def encoded_request(message: core.Message, addr: str) -> bytes | None:
    """The same, serialized."""
    if isinstance(message, core.Forward):
        return _encoded_forward(message)
    request = to_request(message, addr)
    return None if request is None else request.SerializeToString()


def to_ack(message: core.Message, addr: str) -> pb.Ack | None:
    """The message as an answer; None for those that travel as requests only."""
    match message:
        case core.AppendAck():
            ack = pb.Ack()
            write_append_ack(ack.append_ack, message)
            return ack
        case core.ForwardReply():
            return _reply_to_wire(message)
        case core.Append() | core.Forward():
            return None
    name, convert = MGMT_TO_WIRE[type(message)]
    if name not in MGMT_ACKS:
        return None
    ack = pb.Ack()
    getattr(ack.mgmt_ack, name).CopyFrom(convert(message, addr))
    return ack


def from_request(request: pb.CacheRequest) -> core.Message | None:
    """The consensus message in a node's request; None where it is something else."""
    method = request.WhichOneof("method")
    if method == "mgmt_req":
        name = request.mgmt_req.WhichOneof("method")
        convert = MGMT_FROM_WIRE.get(name or "")
        return convert(getattr(request.mgmt_req, str(name))) if convert else None
    if method == "append":
        return append_of(request.append)
    if method == "append_ack":
        return append_ack_of(request.append_ack)
    return forward_of(request) if method in CHANGE_FIELDS else None


def from_ack(ack: pb.Ack) -> core.Message | None:
    """The consensus message in a node's answer; None where it is something else."""
    match ack.WhichOneof("method"):
        case "append_ack":
            return append_ack_of(ack.append_ack)
        case "put_ack":
            return _reply_of_put(ack.put_ack)
        case "del_ack":
            return _reply_of_del(ack.del_ack)
        case "batch_ack":
            return _reply_of_batch(ack.batch_ack)
        case "error" if ack.error.code in CODES:
            refusal = CODES[ack.error.code]
            return core.ForwardReply(ack.error.req_id, refusal=refusal, reason=ack.error.error)
        case "mgmt_ack":
            name = ack.mgmt_ack.WhichOneof("method")
            convert = MGMT_FROM_WIRE.get(name or "") if name in MGMT_ACKS else None
            return convert(getattr(ack.mgmt_ack, str(name))) if convert else None
    return None
