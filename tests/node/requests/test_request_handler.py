"""What happens to a request before it becomes a change: it is answered, refused, or submitted."""

from __future__ import annotations

import pytest

from django_hacache.consensus.messages import AckLevel, Refusal
from django_hacache.consensus.ready import Completion
from django_hacache.node.encoding.acks import change_of
from django_hacache.node.requests.request_handler import RequestHandler
from django_hacache.values import serializers
from django_hacache.wire import cache_pb2 as pb
from tests.node.options import options_of

DIRECT = pb.AckLevel(level_direct=pb.Empty())


class Desk:
    """Notes what is submitted; its replica holds one entry."""

    def __init__(self):
        self.submitted = []
        self.takes = True
        self.led = True
        self.candidates = []
        self.stored = b"value"

    def read(self, cache, entry):
        return self.stored if (cache, entry) == ("default", "key") else None

    def submit(self, req_id, request, level, token, timeout, since):
        self.submitted.append((req_id, request, level, token, timeout))
        self.since = since
        return self.takes

    def has_quorum(self):
        return self.led

    def met_candidate(self, url):
        self.candidates.append(url)

    def greeting(self):
        return pb.Ack(mgmt_ack=pb.MgmtAck(leader_info=pb.LeaderInfo(addr="leader", election_ts=100)))

    def health(self):
        return pb.HealthAck(quorum=True)

    def tell(self, *, local, reply):
        reply(pb.Ack(status_ack=pb.StatusAck(health=f"local: {local}")))


@pytest.fixture
def desk():
    return Desk()


@pytest.fixture
def request_handler(desk):
    return RequestHandler(
        desk, desk, {"default": options_of("default"), "small": options_of("small", MAX_VALUE_SIZE=10)}
    )


@pytest.fixture
def take(request_handler):
    """Hands a request in; returns the answers that came at once."""

    def taken(*, trusted_ids=True, **request):
        answers = []
        request_handler.take(pb.CacheRequest(**request), answers.append, trusted_ids=trusted_ids)
        return answers

    return taken


def insert(**more):
    return pb.Insert(**{"cache_name": "default", "entry": "key", "value": b"1", "req_id": "7", **more})


def test_a_read_is_answered_from_the_replica(take):
    (hit,) = take(get=pb.Get(cache_name="default", entry="key"))
    (miss,) = take(get=pb.Get(cache_name="default", entry="other"))
    assert hit.get_ack == pb.GetAck(cache_name="default", entry="key", value=b"value")
    assert not miss.get_ack.HasField("value")


def test_a_change_waits_for_its_outcome(request_handler, take, desk):
    assert take(insert=insert()) == []
    ((req_id, request, level, token, _),) = desk.submitted
    assert (req_id, request.insert, level) == ("7", insert(), AckLevel.QUORUM)
    answers = []
    token = token._replace(reply=answers.append)
    outcome = pb.Outcome(mod_res=[False], reason=pb.REASON_PRESENT)
    request_handler.complete(Completion(token, outcome.SerializeToString()))
    assert answers == [pb.Ack(put_ack=pb.PutAck(req_id="7", mod_res=False, reason=pb.REASON_PRESENT))]


def test_of_what_is_sent_again_the_core_learns_since_when_it_may_have_happened(take, desk):
    take(insert=insert(), since_index=7, since_generation=5)
    assert desk.since == (7, 5)
    take(insert=insert(ack_level=DIRECT))
    assert desk.since == (0, 0)


@pytest.mark.parametrize("refusal", Refusal)
def test_a_refused_change_is_answered_with_the_id_that_was_given(request_handler, take, desk, refusal):
    take(insert=insert(), trusted_ids=False)
    answers = []
    token = desk.submitted[0][3]._replace(reply=answers.append)
    request_handler.complete(Completion(token, refusal=refusal))
    assert answers[0].error.req_id == "7"
    assert answers[0].error.error


def test_what_nobody_waits_for_completes_in_silence(request_handler):
    request_handler.complete(Completion(None, refusal=Refusal.BUSY))


@pytest.mark.parametrize(
    "request_",
    [
        {"put": pb.Put(cache_name="default", entry="key", req_id="7")},
        {"del": pb.Del(cache_name="default", entry="key", req_id="7")},
        {"insert": insert(ack_level=DIRECT)},
        {"clear": pb.Clear(cache_name="default", req_id="7", ack_level=DIRECT)},
        {"touch": pb.Touch(cache_name="default", req_id="7", ack_level=DIRECT)},
    ],
    ids=lambda request: next(iter(request)),
)
def test_a_change_that_does_not_wait_is_answered_as_soon_as_it_is_accepted(take, desk, request_):
    (answer,) = take(**request_)
    method = getattr(answer, answer.WhichOneof("method"))
    assert (method.req_id, method.mod_res) == ("7", True)
    assert desk.submitted[0][2:4] == (None, None)


def test_a_change_that_does_not_wait_and_finds_no_room_is_refused(take, desk):
    desk.takes = False
    (answer,) = take(put=pb.Put(cache_name="default", entry="key", req_id="7"))
    assert (answer.error.req_id, answer.error.code) == ("7", pb.ERROR_BUSY)


def test_a_batch_that_does_not_wait_is_accepted_as_a_whole(take):
    changes = [pb.Change(insert=insert(), remove=None), pb.Change(clear=pb.Clear(cache_name="small"))]
    (answer,) = take(batch=pb.Batch(changes=changes, req_id="7", ack_level=DIRECT))
    assert list(answer.batch_ack.mod_res) == [True, True]


def test_ids_of_clients_are_replaced_and_those_of_workers_kept(take, desk):
    take(insert=insert())
    take(insert=insert(), trusted_ids=False)
    take(insert=insert(), trusted_ids=False)
    take(insert=insert(req_id=""))
    kept, *made = [submitted[0] for submitted in desk.submitted]
    assert kept == "7"
    assert len({"7", "", *made}) == 5


def test_who_waits_is_told_shortly_before_giving_up(take, desk):
    for given in (0, 100, 10_000, 2**32 - 1):
        take(insert=insert(), timeout_ms=given)
    default, short, long, endless = [submitted[4] for submitted in desk.submitted]
    assert 0 < default < 5000
    assert 0 < short < 100
    assert 9000 < long < 10_000
    assert endless < 2**32 - 1


def change(**more):
    return [pb.Change(**more)]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({}, pb.ERROR_INVALID),
        ({"mgmt_req": pb.MgmtRequest()}, pb.ERROR_INVALID),
        ({"bundle": [pb.CacheRequest()]}, pb.ERROR_INVALID),
        ({"append": pb.Append()}, pb.ERROR_INVALID),
        ({"append_ack": pb.AppendAck()}, pb.ERROR_INVALID),
        ({"snapshot_chunk": pb.SnapshotChunk()}, pb.ERROR_INVALID),
        ({"snapshot_ack": pb.SnapshotAck()}, pb.ERROR_INVALID),
        ({"get": pb.Get(cache_name="other")}, pb.ERROR_UNKNOWN_CACHE),
        ({"get": pb.Get(cache_name="")}, pb.ERROR_UNKNOWN_CACHE),
        ({"put": pb.Put(cache_name="other")}, pb.ERROR_UNKNOWN_CACHE),
        ({"del": pb.Del(cache_name="other")}, pb.ERROR_UNKNOWN_CACHE),
        ({"insert": insert(cache_name="other")}, pb.ERROR_UNKNOWN_CACHE),
        ({"remove": pb.Remove(cache_name="other")}, pb.ERROR_UNKNOWN_CACHE),
        ({"touch": pb.Touch(cache_name="other")}, pb.ERROR_UNKNOWN_CACHE),
        ({"increment": pb.Increment(cache_name="other", delta=b"1")}, pb.ERROR_UNKNOWN_CACHE),
        ({"clear": pb.Clear(cache_name="other")}, pb.ERROR_UNKNOWN_CACHE),
        ({"batch": pb.Batch(changes=change(insert=insert(cache_name="other")))}, pb.ERROR_UNKNOWN_CACHE),
        ({"batch": pb.Batch()}, pb.ERROR_INVALID),
        ({"batch": pb.Batch(changes=change())}, pb.ERROR_INVALID),
        ({"batch": pb.Batch(changes=change(touch=pb.Touch()) * 100_001)}, pb.ERROR_INVALID),
        ({"increment": pb.Increment(cache_name="default")}, pb.ERROR_INVALID),
        ({"increment": pb.Increment(cache_name="default", delta=b"1" * (2 << 20))}, pb.ERROR_INVALID),
        ({"insert": insert(cache_name="small", value=b"1" * 11)}, pb.ERROR_TOO_LARGE),
        ({"put": pb.Put(cache_name="small", value=b"1" * 11)}, pb.ERROR_TOO_LARGE),
        (
            {"batch": pb.Batch(changes=change(insert=insert(cache_name="small", value=b"1" * 11)))},
            pb.ERROR_TOO_LARGE,
        ),
        ({"insert": insert(entry="k" * (2 << 20))}, pb.ERROR_TOO_LARGE),
        ({"insert": insert(req_id="7" * 256)}, pb.ERROR_TOO_LARGE),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("trusted_ids", [True, False])
def test_what_cannot_be_granted_is_refused_with_its_cause_and_changes_nothing(
    take, desk, request_, code, trusted_ids
):
    (answer,) = take(trusted_ids=trusted_ids, **request_)
    assert answer.error.code == code
    assert len(answer.error.error.split()) > 3
    assert len(answer.error.error) < 500
    assert len(answer.error.req_id) < 256
    assert desk.submitted == []


def test_a_value_of_exactly_the_limit_is_taken(take, desk):
    assert take(insert=insert(cache_name="small", value=b"1" * 10)) == []
    assert len(desk.submitted) == 1


@pytest.mark.parametrize("name", ["leader_req", "leader_dead"])
def test_who_is_no_node_and_asks_for_leadership_learns_who_leads(take, desk, name):
    request = pb.MgmtRequest()
    getattr(request, name).SetInParent()
    (answer,) = take(mgmt_req=request)
    assert answer.mgmt_ack.leader_info.addr == "leader"
    assert desk.submitted == []


@pytest.mark.parametrize(
    "name",
    [
        *("leader_req_ack", "leader_ack", "leader_switch", "leader_switch_priority", "leader_switch_ack"),
        *("pong", "leader_ack_ack"),
    ],
)
def test_other_words_of_who_is_no_node_about_leadership_are_answered_by_silence(take, desk, name):
    request = pb.MgmtRequest()
    getattr(request, name).SetInParent()
    assert take(mgmt_req=request) == [None]
    assert desk.submitted == []


@pytest.mark.parametrize(
    ("asked", "told"), [(50, 49), (100, 99), (101, 100), (200, 100), (0, 100), (-1, 100)]
)
def test_a_leader_has_asked_before_every_candidate_outside_the_cluster(take, desk, asked, told):
    (answer,) = take(mgmt_req=pb.MgmtRequest(leader_req=pb.LeaderReq(addr="http://a:1", election_ts=asked)))
    assert desk.candidates == ["http://a:1"]
    assert answer.mgmt_ack.leader_info.election_ts == told


@pytest.mark.parametrize("kind", ["put", "del"])
@pytest.mark.parametrize("trusted_ids", [True, False])
def test_without_a_leader_nobody_accepts_a_change_that_does_not_wait(take, desk, kind, trusted_ids):
    desk.led = False
    change = {"put": pb.Put, "del": pb.Del}[kind](cache_name="default", entry="key", req_id="7")
    (answer,) = take(trusted_ids=trusted_ids, **{kind: change})
    assert (answer.error.req_id, answer.error.code) == ("7", pb.ERROR_NO_QUORUM)
    assert desk.submitted == []


def test_without_a_leader_a_worker_waits_for_one_also_at_level_direct(request_handler, take, desk):
    desk.led = False
    assert take(insert=insert(ack_level=DIRECT)) == []
    _, _, level, token, _ = desk.submitted[0]
    assert level is AckLevel.LEADER
    answers = []
    request_handler.complete(Completion(token._replace(reply=answers.append), refusal=Refusal.NO_QUORUM))
    assert answers[0].error.code == pb.ERROR_NO_QUORUM


@pytest.mark.parametrize("trusted_ids", [True, False])
def test_what_was_not_there_is_removed_in_the_base_protocol_and_not_for_a_worker(
    request_handler, take, desk, trusted_ids
):
    take(trusted_ids=trusted_ids, remove=pb.Remove(cache_name="default", entry="key", req_id="7"))
    answers = []
    outcome = pb.Outcome(mod_res=[False], reason=pb.REASON_ABSENT)
    token = desk.submitted[0][3]._replace(reply=answers.append)
    request_handler.complete(Completion(token, outcome.SerializeToString()))
    assert answers[0].del_ack.mod_res is not trusted_ids


# bytes of programs outside the site

FORGED = serializers.encode(["a pickle"])


@pytest.mark.parametrize("value", [b"", b"\x00", FORGED, serializers.encode(1), b"text"])
@pytest.mark.parametrize("kind", ["put", "insert", "batch"])
def test_bytes_of_a_program_outside_are_no_value_and_come_back_to_it_as_they_were(take, desk, value, kind):
    request = {
        "put": {"put": pb.Put(cache_name="default", entry="key", value=value)},
        "insert": {"insert": insert(value=value)},
        "batch": {"batch": pb.Batch(changes=change(insert=insert(value=value)))},
    }[kind]
    take(trusted_ids=False, **request)
    sent = change_of(desk.submitted[0][1])
    desk.stored = sent.changes[0].insert.value if kind == "batch" else sent.value
    with pytest.raises(serializers.EncodingError):
        serializers.decode(desk.stored)
    (answer,) = take(trusted_ids=False, get=pb.Get(cache_name="default", entry="key"))
    assert answer.get_ack.HasField("value")
    assert answer.get_ack.value == value


def test_a_worker_s_bytes_are_stored_as_they_are_and_given_to_a_program_outside_as_stored(take, desk):
    take(insert=insert(value=FORGED))
    assert desk.submitted[0][1].insert.value == FORGED
    desk.stored = FORGED
    (answer,) = take(trusted_ids=False, get=pb.Get(cache_name="default", entry="key"))
    assert answer.get_ack.value == FORGED


@pytest.mark.parametrize("trusted_ids", [True, False])
def test_the_mark_counts_nothing_towards_the_largest_value(take, desk, trusted_ids):
    assert take(trusted_ids=trusted_ids, insert=insert(cache_name="small", value=b"1" * 10)) == []
    assert len(desk.submitted) == 1


def test_what_workers_have_lost_is_added_up_and_nobody_else_is_believed(take, request_handler):
    take(lost_writes=2, insert=insert())
    take(lost_writes=3, mgmt_req=pb.MgmtRequest(ping=pb.Ping()))
    take(trusted_ids=False, lost_writes=4, insert=insert())
    assert request_handler.lost_writes == 5


def test_ping_health_and_status_are_answered(take):
    (pong,) = take(mgmt_req=pb.MgmtRequest(ping=pb.Ping()))
    (health,) = take(mgmt_req=pb.MgmtRequest(health=pb.Health()))
    (status,) = take(status=pb.Status(local=True))
    assert pong.mgmt_ack == pb.MgmtAck(pong=pb.Pong())
    assert health.mgmt_ack.health_ack.quorum
    assert status.status_ack.health == "local: True"


@pytest.mark.parametrize("outcome", [b"\xff", pb.Outcome(mod_res=[True]).SerializeToString()])
def test_what_the_order_holds_in_place_of_an_outcome_tells_nothing(outcome):
    desk, answers = Desk(), []
    request_handler = RequestHandler(desk, desk, {"default": options_of("default")})
    changes = [pb.Change(clear=pb.Clear(cache_name="default"))] * 2
    request = pb.CacheRequest(batch=pb.Batch(req_id="1", changes=changes))
    request_handler.take(request, answers.append, trusted_ids=True)
    request_handler.complete(Completion(desk.submitted[0][3], outcome=outcome))
    assert [answer.error.code for answer in answers] == [pb.ERROR_OUTCOME_UNKNOWN]
