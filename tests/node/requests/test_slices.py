"""Batches of workers of the version before, which are larger than what one entry of the log may do today."""

import pytest

from django_hacache.consensus.messages import Refusal
from django_hacache.consensus.ready import Completion
from django_hacache.node.requests.request_handler import RequestHandler
from django_hacache.node.requests.slices import EARLIER
from django_hacache.node.requests.validation import BATCH_BYTES_MAX, BATCH_CHANGES_MAX
from django_hacache.wire import cache_pb2 as pb
from tests.node.options import options_of
from tests.node.requests.test_request_handler import DIRECT, Desk


@pytest.fixture
def desk():
    return Desk()


@pytest.fixture
def request_handler(desk):
    return RequestHandler(desk, desk, {"default": options_of("default")})


@pytest.fixture
def take(request_handler):
    def taken(changes, *, trusted_ids=True, level=None, **more):
        answers = []
        batch = pb.Batch(changes=changes, req_id="7", ack_level=level)
        request_handler.take(pb.CacheRequest(batch=batch, **more), answers.append, trusted_ids=trusted_ids)
        return answers

    return taken


def changes(count, size=1):
    return [
        pb.Change(insert=pb.Insert(cache_name="default", entry=f"k{number}", value=bytes(size)))
        for number in range(count)
    ]


def answer(request_handler, desk, *outcomes):
    """What became of the slices, the last one first."""
    for (_, request, _, token, _), outcome in reversed(list(zip(desk.submitted, outcomes, strict=True))):
        if isinstance(outcome, Refusal):
            request_handler.complete(Completion(token, refusal=outcome))
        else:
            flags = pb.Outcome(mod_res=[outcome] * len(request.batch.changes))
            request_handler.complete(Completion(token, flags.SerializeToString()))


@pytest.mark.parametrize(
    "sent",
    [changes(EARLIER.changes), changes(4, EARLIER.bytes // 4 - 10), changes(501), changes(999, 4000)],
    ids=["as many as it may", "as large as it may", "one more than today", "both"],
)
def test_what_an_earlier_worker_may_send_is_taken_in_slices_of_todays_size(request_handler, desk, take, sent):
    answers = take(sent, timeout_ms=1000, since_index=3, since_generation=4)
    assert not answers
    assert len(desk.submitted) > 1
    together = []
    for _, request, _, _, _ in desk.submitted:
        assert len(request.batch.changes) <= BATCH_CHANGES_MAX
        assert sum(len(one.insert.value) for one in request.batch.changes) <= BATCH_BYTES_MAX
        together += request.batch.changes
    assert together == sent
    assert len({req_id for req_id, *_ in desk.submitted}) == len(desk.submitted)
    assert desk.since == (3, 4)
    answer(request_handler, desk, True, *[False] * (len(desk.submitted) - 1))
    (whole,) = answers
    first = len(desk.submitted[0][1].batch.changes)
    assert whole.batch_ack.req_id == "7"
    assert list(whole.batch_ack.mod_res) == [True] * first + [False] * (len(sent) - first)


def test_one_that_is_sent_again_is_cut_in_the_same_places_under_the_same_ids(desk, take):
    take(changes(EARLIER.changes))
    first, desk.submitted = desk.submitted, []
    take(changes(EARLIER.changes))
    assert [(one[0], one[1]) for one in first] == [(one[0], one[1]) for one in desk.submitted]


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ((Refusal.BUSY, Refusal.BUSY), pb.ERROR_BUSY),
        ((True, Refusal.BUSY), pb.ERROR_OUTCOME_UNKNOWN),
        ((Refusal.NO_QUORUM, Refusal.OUTCOME_UNKNOWN), pb.ERROR_OUTCOME_UNKNOWN),
    ],
)
def test_that_a_sliced_batch_did_not_happen_is_said_only_where_no_slice_did(
    request_handler, desk, take, outcomes, code
):
    answers = take(changes(EARLIER.changes))
    answer(request_handler, desk, *outcomes)
    (whole,) = answers
    assert (whole.error.code, whole.error.req_id) == (code, "7")


def test_one_that_does_not_wait_is_answered_once(take):
    (whole,) = take(changes(EARLIER.changes), level=DIRECT)
    assert list(whole.batch_ack.mod_res) == [True] * EARLIER.changes


def test_where_one_change_can_never_be_carried_out_no_slice_is(desk, take):
    sent = changes(EARLIER.changes)
    sent[-1].insert.cache_name = "nobody's"
    (refused,) = take(sent)
    assert refused.error.code == pb.ERROR_UNKNOWN_CACHE
    assert not desk.submitted


@pytest.mark.parametrize(
    ("sent", "trusted_ids"),
    [(changes(EARLIER.changes + 1), True), (changes(5, EARLIER.bytes // 4), True), (changes(501), False)],
    ids=["more", "larger", "of a program outside"],
)
def test_more_than_that_is_refused_and_from_outside_whatever_is_more_than_today(
    desk, take, sent, trusted_ids
):
    (refused,) = take(sent, trusted_ids=trusted_ids)
    assert refused.error.code in {pb.ERROR_INVALID, pb.ERROR_TOO_LARGE}
    assert not desk.submitted
