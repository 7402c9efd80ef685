"""What becomes of one request, told without a socket and without waiting."""

from __future__ import annotations

from pathlib import Path

import pytest

from django_hacache.exceptions import CacheUnavailable, LinkError, OutcomeUnknown
from django_hacache.link.exchange import NOT_APPLIED, PAUSE_MAX_S, PAUSE_MIN_S, Exchange, succeeded
from django_hacache.link.lost import Lost
from django_hacache.link.watch import Hung
from django_hacache.wire import cache_pb2 as pb
from tests.link.requests import insert, soon

PATH = Path("/location/node.sock")
RESET = ConnectionResetError("The node closed the connection.")


def exchange(deadline=None, **more):
    return Exchange(insert(), deadline=soon() if deadline is None else deadline, **more)


def again(exchange, error=RESET, *, gone=False):
    return exchange.retry_pause_s(error, PATH, lambda: gone)


def refusal(code):
    return pb.Ack(error=pb.Error(error="refused", code=code))


def test_what_fails_before_it_was_sent_certainly_did_not_happen():
    with pytest.raises(CacheUnavailable, match=r"/location/node\.sock could not be reached") as failure:
        again(exchange(deadline=0))
    assert not isinstance(failure.value, OutcomeUnknown)
    assert failure.value.__cause__ is RESET


def test_what_fails_after_it_was_sent_may_have_happened():
    one = exchange(deadline=0)
    one.sent()
    with pytest.raises(OutcomeUnknown, match=r"/location/node\.sock did not answer in time"):
        again(one)


def test_what_was_sent_once_may_have_happened_though_it_could_not_be_sent_again():
    one = exchange()
    one.sent()
    again(one)
    with pytest.raises(OutcomeUnknown):
        again(one, ConnectionRefusedError(), gone=True)


def test_what_is_sent_again_says_since_when_it_may_have_happened():
    one = exchange(since=(7, 5))
    again(one)
    first = pb.CacheRequest.FromString(one.payload)
    assert (first.since_index, first.since_generation) == (0, 0)
    one.sent()
    again(one)
    request = pb.CacheRequest.FromString(one.payload)
    assert (request.since_index, request.since_generation, request.insert.req_id) == (7, 5, one.req_id)


def test_attempts_pause_longer_and_longer_up_to_a_bound():
    one = exchange()
    pauses = [again(one) for _ in range(6)]
    assert pauses == sorted(pauses)
    assert pauses[0] < pauses[-1] == PAUSE_MAX_S


def test_no_pause_goes_beyond_the_deadline(monkeypatch):
    monkeypatch.setattr("django_hacache.link.exchange.monotonic", lambda: 10.0)
    assert again(exchange(deadline=10.0625)) == PAUSE_MIN_S
    assert again(exchange(deadline=10.0 + PAUSE_MIN_S / 2)) == pytest.approx(PAUSE_MIN_S / 2)


@pytest.mark.parametrize(
    ("error", "gone"), [(Hung(), False), (ConnectionRefusedError(), True), (FileNotFoundError(), True)]
)
def test_nobody_waits_for_a_node_that_hangs_or_that_is_not_to_be_expected(error, gone):
    with pytest.raises(CacheUnavailable):
        again(exchange(), error, gone=gone)


def test_a_node_that_may_come_is_waited_for():
    assert again(exchange(), ConnectionRefusedError(), gone=False) > 0


def test_what_went_wrong_says_more_than_that_the_time_is_over():
    one = exchange(deadline=soon(0.02))
    with pytest.raises(CacheUnavailable) as failure:
        while True:
            again(one)
            again(one, TimeoutError("timed out"))
    assert failure.value.__cause__ is RESET


@pytest.mark.parametrize("code", NOT_APPLIED)
def test_a_refusal_is_conclusive_unless_the_request_was_sent_before(code):
    one = exchange()
    one.sent()
    assert one.ensure_conclusive(refusal(code)) == refusal(code)
    again(one)
    with pytest.raises(OutcomeUnknown, match=r"may have happened then\. Now: refused"):
        one.ensure_conclusive(refusal(code))


def test_that_a_value_is_too_large_is_conclusive_however_often_it_was_sent():
    one = exchange()
    one.sent()
    again(one)
    assert one.ensure_conclusive(refusal(pb.ERROR_TOO_LARGE)) == refusal(pb.ERROR_TOO_LARGE)


def test_the_answer_to_another_request_is_none():
    one = exchange()
    own = pb.Ack(put_ack=pb.PutAck(req_id=one.req_id, mod_res=True))
    assert one.answer(own.SerializeToString()) == own
    for payload in (pb.Ack(put_ack=pb.PutAck(req_id="another")).SerializeToString(), b"\xff"):
        with pytest.raises(Lost) as lost:
            one.answer(payload)
        assert isinstance(lost.value.__cause__, LinkError)


NAME = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    "ack",
    [
        pb.Ack(put_ack=pb.PutAck(req_id=NAME, mod_res=True)),
        pb.Ack(del_ack=pb.DelAck(req_id=NAME, mod_res=True)),
    ],
)
def test_an_ordinary_success_is_known_by_its_bytes(ack):
    assert succeeded(ack.SerializeToString()) == NAME


@pytest.mark.parametrize(
    "ack",
    [
        pb.Ack(put_ack=pb.PutAck(req_id=NAME, mod_res=False, reason=pb.REASON_PRESENT)),
        pb.Ack(put_ack=pb.PutAck(req_id=NAME, mod_res=False)),
        pb.Ack(put_ack=pb.PutAck(req_id=NAME, mod_res=True, value=b"1")),
        pb.Ack(put_ack=pb.PutAck(req_id=NAME[:-2], mod_res=True)),
        pb.Ack(put_ack=pb.PutAck(req_id=NAME + "00")),
        pb.Ack(del_ack=pb.DelAck(req_id=NAME, mod_res=False)),
        pb.Ack(batch_ack=pb.BatchAck(req_id=NAME, mod_res=[True])),
        pb.Ack(error=pb.Error(error="n" * 31, req_id="r")),
        pb.Ack(),
    ],
)
def test_any_other_answer_is_parsed(ack):
    assert succeeded(ack.SerializeToString()) is None


def test_the_success_of_another_request_is_no_answer():
    ack = pb.Ack(put_ack=pb.PutAck(req_id=NAME, mod_res=True))
    with pytest.raises(Lost):
        exchange().answer(ack.SerializeToString())
