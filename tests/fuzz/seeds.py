"""Writes the corpora: `python -m tests.fuzz.seeds`. Inputs made of messages as nodes, workers and clients send them.

What a fuzzer has found since lies beside them under a name of its own, and is left alone.
"""

from __future__ import annotations

import os
from pathlib import Path

from django_hacache.consensus import messages as core
from django_hacache.link.framing import frame
from django_hacache.node.encoding import codec
from django_hacache.node.transport.authentication.credentials import EXTENSION_VERSION
from django_hacache.wire import cache_pb2 as pb

from . import frames, intake, member, records
from .steps import Step, data_of
from .world import ROLES, addr_of

CORPUS = Path(__file__).parent / "corpus"
OWN = member.NEAR_MAX // 2  # with NEAR: the node's own number
NEAR, AS_ITSELF = member.NEAR, member.AS_ITSELF
FIRST, SECOND = 0, 1
LEVELS = ("level_leader", "level_once", "level_quorum", "level_all")


def level(name):
    return pb.AckLevel(**{name: pb.Empty()})


def changes():
    """One of each change, and batches of them."""
    value = b"\1\7"
    insert = pb.Insert(
        cache_name="default", entry="k1", value=value, req_id="a1", ack_level=level("level_quorum")
    )
    absent = pb.Insert(cache_name="other", entry="k2", value=b"\x80\5N.", req_id="a2", ttl_ms=900)
    absent.condition = pb.CONDITION_ABSENT
    unchanged = pb.Insert(
        cache_name="default", entry="k1", value=value, req_id="a3", expected_version=1 << 20
    )
    unchanged.condition = pb.CONDITION_UNCHANGED
    keeping = pb.Insert(cache_name="default", entry="k1", value=value, req_id="a4", keep_ttl=True)
    increment = pb.Increment(cache_name="default", entry="k1", delta=b"\2", req_id="a5")
    remove = pb.Remove(cache_name="default", entry="k1", req_id="a6", ack_level=level("level_all"))
    touch = pb.Touch(cache_name="default", entry="k4", ttl_ms=500, req_id="a7", ack_level=level("level_once"))
    clear = pb.Clear(cache_name="default", req_id="a8", ack_level=level("level_leader"))
    batch = pb.Batch(
        req_id="a9",
        changes=[
            pb.Change(insert=insert),
            pb.Change(increment=increment),
            pb.Change(touch=touch),
            pb.Change(remove=remove),
            pb.Change(clear=clear),
        ],
    )
    return [
        pb.CacheRequest(insert=insert, timeout_ms=1000),
        pb.CacheRequest(insert=absent),
        pb.CacheRequest(insert=unchanged),
        pb.CacheRequest(insert=keeping, since_index=2),
        pb.CacheRequest(put=pb.Put(cache_name="default", entry="k1", value=value, ttl_ms=50, req_id="b1")),
        pb.CacheRequest(increment=increment),
        pb.CacheRequest(**{"del": pb.Del(cache_name="default", entry="k2", req_id="b2")}),
        pb.CacheRequest(remove=remove),
        pb.CacheRequest(touch=touch),
        pb.CacheRequest(batch=batch),
        pb.CacheRequest(clear=clear),
    ]


def questions():
    """What changes nothing."""
    return [
        pb.CacheRequest(get=pb.Get(cache_name="default", entry="k1")),
        pb.CacheRequest(status=pb.Status(local=True)),
        pb.CacheRequest(mgmt_req=pb.MgmtRequest(ping=pb.Ping())),
        pb.CacheRequest(mgmt_req=pb.MgmtRequest(health=pb.Health())),
        pb.CacheRequest(
            mgmt_req=pb.MgmtRequest(leader_req=pb.LeaderReq(addr=f"http://{addr_of(1)}", election_ts=5))
        ),
        pb.CacheRequest(
            mgmt_req=pb.MgmtRequest(leader_dead=pb.LeaderDead(vote_host="http://a:1", election_ts=5))
        ),
        pb.CacheRequest(),
    ]


def effects():
    kinds = [
        pb.Effect(set=pb.SetEffect(cache_name="default", entry="k1", value=b"\1\7", ttl_ms=300)),
        pb.Effect(
            set=pb.SetEffect(cache_name="other", entry="k2", value=b"\x80\5N.", keep_ttl=True, lasts=True)
        ),
        pb.Effect(touch=pb.TouchEffect(cache_name="default", entry="k1", ttl_ms=900)),
        pb.Effect(delete=pb.DeleteEffect(cache_name="default", entry="k4")),
        pb.Effect(remove_keys=pb.RemoveKeys(cache_name="default", keys=[b"k5", b"k6"])),
        pb.Effect(clear=pb.ClearEffect(cache_name="other")),
    ]
    return pb.Effects(effects=kinds).SerializeToString()


def entries(count=3):
    outcome = pb.Outcome(mod_res=[True]).SerializeToString()
    made = [core.Entry(number + 1, OWN, effects(), f"e{number}", outcome) for number in range(count)]
    return tuple(made), (0,) * count


def request(message, who=FIRST, after_ms=20):
    """A message of the core, as a member sends it on its stream."""
    return Step(
        member.REQUEST,
        who | NEAR | AS_ITSELF,
        after_ms,
        codec.to_request(message, addr_of(1 + who)).SerializeToString(),
    )


def answer(message, who=FIRST, after_ms=20):
    """The same on the stream of the node itself."""
    return Step(
        member.ANSWER,
        who | NEAR | AS_ITSELF,
        after_ms,
        codec.to_ack(message, addr_of(1 + who)).SerializeToString(),
    )


def wire(message, who=FIRST, after_ms=20):
    return Step(member.REQUEST, who | NEAR | AS_ITSELF, after_ms, message.SerializeToString())


def honest(rounds, after_ms=100):
    return [Step(member.HONEST, number % 2, after_ms) for number in range(rounds)]


LEADS = [request(core.Ping(OWN, 1, OWN, OWN, OWN, 900)), request(core.LeaderAck(1, OWN))]
TICK = Step(member.TICK, 0, 300)


def lives():
    """Of the harness `member`: its role and what happens."""
    follows = [
        *LEADS,
        request(core.Append(OWN, OWN, OWN, OWN, *entries())),
        request(core.Ping(OWN, 2, OWN, OWN, OWN, 900)),
        request(core.Append(OWN, OWN, OWN, OWN, *entries(1))),
        answer(core.Ping(OWN, 3, OWN, OWN, OWN, 900)),
        request(core.Append(OWN, OWN - 2, OWN - 1, OWN - 2, *entries(1))),
        Step(member.RESTART, 0, 10),
        request(core.Ping(OWN, 4, OWN, OWN + 1, OWN, 900)),
    ]
    elections = [
        request(core.LeaderReq(7, OWN + 1, OWN, OWN, pre_vote=True), after_ms=3000),
        request(core.LeaderReq(7, OWN + 1, OWN, OWN)),
        request(core.LeaderReq(8, OWN, OWN, OWN), SECOND),
        request(core.LeaderSwitchPriority(addr_of(2), 6, OWN), SECOND),
        request(core.LeaderDead(addr_of(1), 6, OWN), SECOND),
        request(core.LeaderSwitch(addr_of(0), 6, OWN)),
        answer(core.LeaderSwitchAck(OWN)),
        answer(core.LeaderReqAck(7, OWN, True)),
        answer(core.LeaderAckAck(OWN)),
        request(core.Probe()),
        answer(core.ProbeReply()),
        TICK,
    ]
    leads = [
        *honest(8, 300),
        *(Step(member.WORKER, 0, 10, one.SerializeToString()) for one in changes()[:4]),
        *honest(4),
        answer(core.AppendAck(OWN, True, OWN, OWN, OWN)),
        answer(core.AppendAck(OWN, False, OWN - 3, OWN - 3, OWN)),
        answer(core.AppendAck(OWN, True, OWN, OWN, OWN, installing=True), SECOND),
        answer(core.Pong(OWN, 1, OWN - 2, OWN, OWN)),
        *(wire(one) for one in changes()),
        *honest(4),
        Step(member.HAND_OVER, 0, 10),
        *honest(4),
    ]
    forwards = [
        *LEADS,
        *(Step(member.WORKER, 0, 10, one.SerializeToString()) for one in changes()[:6]),
        *honest(2, 20),
        answer(
            core.ForwardReply(
                "a3", 4, OWN, pb.Outcome(mod_res=[True]).SerializeToString(), command=changes()[2]
            )
        ),
        answer(core.ForwardReply("a4", refusal=core.Refusal.NOT_LEADER, reason="not here")),
        Step(member.LOSE, NEAR, 10),
        Step(member.CONNECT, 0, 100),
        TICK,
    ]
    parts = [
        *LEADS,
        wire(pb.CacheRequest(snapshot_chunk=pb.SnapshotChunk(term=OWN, transfer="t", number=1))),
        *(wire(pb.CacheRequest(snapshot_chunk=chunk)) for chunk in chunks()),
        request(core.Append(OWN, OWN, OWN, OWN, *entries(1))),
        request(core.Ping(OWN, 2, OWN, OWN, OWN, 900)),
    ]
    anew = [
        *LEADS,
        request(core.Append(OWN, OWN + 5, OWN, OWN + 5, anew=True)),
        *parts[2:],
    ]
    sends = [
        *honest(8, 300),
        answer(core.AppendAck(OWN, True, OWN, OWN, OWN, installing=True)),
        *honest(3),
        wire(
            pb.CacheRequest(
                snapshot_ack=pb.SnapshotAck(term=OWN, number=1, position=b"default\0k2", reached=OWN)
            )
        ),
        wire(pb.CacheRequest(status=pb.Status(local=True))),
        Step(
            member.ANSWER,
            AS_ITSELF,
            10,
            pb.Ack(status_ack=pb.StatusAck(hosts=[pb.HostStatus(addr="a")])).SerializeToString(),
        ),
        *honest(3),
    ]
    yield "follows", "member", follows
    yield "elections", "member", elections
    yield "leads", "member", leads
    yield "forwards", "member", forwards
    yield "begins-anew", "member", anew
    yield "sends-its-replica", "member", sends
    yield "takes-a-replica", "installing", parts
    yield "forms-a-cluster", "fresh", [*honest(12, 200), *leads[8:16]]
    yield "votes-fresh", "fresh", elections


def chunks():
    item = pb.SnapshotItem(cache_name="default", key=b"k5", value=b"\1\7", version=5 << 20, ttl_ms=700)
    large = pb.SnapshotItem(cache_name="default", key=b"k6", value=b"\x80" + b"v" * 50, version=6 << 20)
    recent = pb.RecentRequest(req_id="e1", index=4, outcome=b"")
    yield pb.SnapshotChunk(
        term=OWN, transfer="t", number=2, after=b"-", upto=b"default\0k5", index=OWN, items=[item]
    )
    yield pb.SnapshotChunk(
        term=OWN, transfer="t", number=3, after=b"-", upto=b"default\0k6", index=OWN, items=[large], more=True
    )
    yield pb.SnapshotChunk(
        term=OWN, transfer="t", number=4, after=b"-", upto=b"default\0k6", index=OWN, items=[large], offset=51
    )
    yield pb.SnapshotChunk(
        term=OWN,
        transfer="t",
        number=5,
        after=b"-",
        upto=b"\xff",
        index=OWN,
        requests=[recent],
        done=True,
        floor=3,
    )


def of_intake():
    for who in (intake.CLIENT, intake.WORKER):
        asked = [one.SerializeToString() for one in (*changes(), *questions())]
        steps = [Step(who, 0, 1000 if not number else 20, one) for number, one in enumerate(asked)]
        yield f"changes-{who}", data_of([*steps, Step(intake.TICK, 0, 1000), Step(intake.RESTART, 0, 10)])


def of_frames():
    requests = [one.SerializeToString() for one in (*changes(), *questions())]
    yield (
        "worker",
        data_of([Step(frames.WORKER, 1 | number % 8 << 1, 10, one) for number, one in enumerate(requests)]),
    )
    signed = [one.payload for one in LEADS]
    yield "peer", data_of([Step(frames.PEER, 1 | 4 << 1, 10, one) for one in (*signed, *requests)])
    hello = pb.LaneHello(
        addr=addr_of(1), peer=addr_of(0), nonce=b"n" * 32, version=EXTENSION_VERSION
    ).SerializeToString()
    yield (
        "stranger",
        data_of(
            [Step(frames.STRANGER, 1, 10, hello), Step(frames.STRANGER, 0, 10, b"GET / HTTP/1.1\r\n\r\n")]
        ),
    )
    yield "pieces", data_of([Step(frames.WORKER, 8, 10, frame(requests[0]) * 3), Step(frames.CLOSE, 0, 2000)])


def of_records():
    yield "void", data_of([Step(records.META, 0, 0, b"{}"), Step(records.LOG, 3, 0, b"rubbish")])
    yield "short", data_of([Step(records.DEFAULT, 0, 0, b"\1"), Step(records.HOST, 1, 0, b"x" * 30)])
    hard = b'{"incarnation":"i","term":9,"vote":"","generation":[5,"g"],"fresh":false,"forming":null,"installing":null}'
    yield (
        "later",
        data_of([Step(records.META, 0, 0, hard), Step(records.META, 2, 0, (20).to_bytes(8, "little") * 2)]),
    )
    yield "page", data_of([Step(records.PAGE, number, 0, b"\xff" * 8) for number in range(8)])
    yield "names", data_of([Step(records.NAMES, 200, 0, bytes([12]) + b"entries:other" + b"no tree")])


def corpora():
    yield from (
        ("member", name, bytes([ROLES.index(role)]) + data_of(steps)) for name, role, steps in lives()
    )
    yield from (("intake", *one) for one in of_intake())
    yield from (("frames", *one) for one in of_frames())
    yield from (("records", *one) for one in of_records())
    for name, data in {
        "integer": b"\1\7",
        "pickle": b"\x80\5N.",
        "foreign": b"\0x",
        "text": "ü".encode(),
    }.items():
        yield "values", name, data
    for name, at in {
        "magic": 16,
        "page-size": 40,
        "tree": 4096,
        "leaf": 3 * 4096,
        "pointer": 3 * 4096 + 18,
    }.items():
        yield "pages", name, at.to_bytes(3, "big") + b"\3\0\0\0\0"


def main() -> None:
    for harness, name, data in corpora():
        (CORPUS / harness).mkdir(parents=True, exist_ok=True)
        (CORPUS / harness / name).write_bytes(data)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    main()
