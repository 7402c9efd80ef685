"""Changes that are sent again: each takes effect once, or its worker learns that nobody knows."""

from __future__ import annotations

import pytest

from django_hacache.consensus.messages import AckLevel, Refusal, Since
from tests.simulation.kv import Command


def test_a_change_that_meets_a_change_of_leaders_takes_effect_once(stage):
    cluster = stage()
    leader = cluster.settle()
    follower = cluster.followers()[0]
    passes = lambda source, target, message: type(message).__name__ != "ForwardReply"
    cluster.filters.append(passes)
    operation = cluster.submit(follower.addr, Command("incr", "n", 1), AckLevel.ALL, timeout=15_000)
    cluster.run(30)
    leader.crash()
    cluster.filters.remove(passes)
    cluster.run(8000)
    assert operation.ended is not None
    assert operation.ended.refusal is None
    assert operation.ended.outcome == b"1"
    assert cluster.value(cluster.leader(), "n") == 1


def test_a_retry_that_the_bounded_table_may_have_forgotten_is_refused(stage):
    cluster = stage(request_table=4)
    leader = cluster.settle()
    follower = cluster.followers()[0]
    passes = lambda source, target, message: (
        type(message).__name__ not in ("ForwardReply", "Append", "Ping") or (target != follower.addr)
    )
    cluster.filters.append(passes)
    operation = cluster.submit(follower.addr, Command("incr", "n", 1), AckLevel.ALL, timeout=1900)
    cluster.run(50)
    for number in range(20):
        cluster.put(leader, "k", number)
        cluster.run(20)
    cluster.filters.remove(passes)
    cluster.run(1500)
    assert operation.ended is not None
    assert cluster.value(leader, "n") == 1


@pytest.mark.parametrize("restarts", [False, True])
def test_what_a_worker_sends_again_after_the_table_may_have_forgotten_it_is_refused(stage, restarts):
    """The host's own record of it is gone: it was answered and the answer was lost, or its process is another one."""
    cluster = stage(request_table=4)
    leader = cluster.settle()
    host = cluster.followers()[0]
    incr = Command("incr", "n", 1)
    since = host.page_since
    cluster.submit(host.addr, incr, AckLevel.QUORUM, timeout=3000, req_id="same")
    cluster.run(1.5 if restarts else 50)
    if restarts:
        host.crash()
    for number in range(20):
        cluster.put(leader, f"k{number}", number)
    cluster.run(100)
    if restarts:
        cluster.restart(host)
        cluster.run(400)
    for sender in (host, leader):
        again = cluster.submit(sender.addr, incr, AckLevel.QUORUM, timeout=3000, req_id="same", since=since)
        cluster.run(500)
        assert again.ended.refusal is Refusal.OUTCOME_UNKNOWN
    assert cluster.value(leader, "n") == 1


@pytest.mark.parametrize("remembered", [True, False])
def test_what_a_worker_sends_again_to_a_host_that_has_lost_everything_takes_effect_once(stage, remembered):
    """The host joins the very order in which the first one took effect: it keeps the worker's word of when that was."""
    cluster = stage(request_table=8)
    leader = cluster.settle()
    host = cluster.followers()[0]
    since = host.page_since
    incr = Command("incr", "n", 1)
    cluster.submit(host.addr, incr, AckLevel.QUORUM, timeout=3000, req_id="same")
    cluster.run(50)
    host.crash(wipe=True)
    for number in range(2 if remembered else 20):
        cluster.put(leader, f"k{number}", number)
    cluster.run(100)
    cluster.restart(host)
    again = cluster.submit(host.addr, incr, AckLevel.QUORUM, timeout=4000, req_id="same", since=since)
    cluster.run(3000)
    expected = (None, b"1") if remembered else (Refusal.OUTCOME_UNKNOWN, b"")
    assert (again.ended.refusal, again.ended.outcome) == expected
    assert cluster.value(leader, "n") == 1


def test_what_a_worker_sends_again_to_a_host_that_has_lost_everything_is_done_where_it_never_was(stage):
    cluster = stage(request_table=8)
    leader = cluster.settle()
    host = cluster.followers()[0]
    for number in range(20):
        cluster.write(leader, "k", number)
    since = host.page_since
    host.crash(wipe=True)
    cluster.restart(host)
    again = cluster.submit(
        host.addr, Command("incr", "n", 1), AckLevel.QUORUM, timeout=4000, req_id="same", since=since
    )
    cluster.run(3000)
    assert (again.ended.refusal, again.ended.outcome) == (None, b"1")


@pytest.mark.parametrize("ahead", [0, 10])
@pytest.mark.parametrize("mark", [0, 1])
def test_an_index_of_an_earlier_generation_says_nothing_of_this_one(stage, ahead, mark):
    """Neither now nor once its order is as long: what it did at an earlier index is forgotten."""
    cluster = stage(request_table=4)
    leader = cluster.settle()
    for number in range(20):
        cluster.put(leader, f"k{number}", number)
    cluster.run(100)
    since = Since(leader.core.state.log.last_index + ahead, mark)
    for sender in (*cluster.followers(), leader):
        first, again = (
            cluster.submit(
                sender.addr,
                Command("incr", "n", 1),
                AckLevel.QUORUM,
                timeout=3000,
                req_id="same",
                since=since,
            )
            for _ in range(2)
        )
        cluster.run(100)
        assert {first.ended.refusal, again.ended.refusal} == {Refusal.OUTCOME_UNKNOWN}
        for number in range(20):
            cluster.put(leader, f"k{number}", number)
        cluster.run(100)
    assert cluster.value(leader, "n") is None


def test_a_host_without_room_answers_a_retry_from_its_table_and_never_says_that_it_did_not_happen(stage):
    cluster = stage(pending_requests=1)
    leader = cluster.settle()
    host, other = cluster.followers()
    incr = Command("incr", "n", 1)
    since = host.page_since
    cluster.submit(host.addr, incr, AckLevel.QUORUM, timeout=3000, req_id="done")
    cluster.run(50)
    cluster.cut([other], [leader, host])
    cluster.put(host, "k", 1, AckLevel.ALL)
    cluster.run(50)
    done, unknown = (
        cluster.submit(host.addr, incr, AckLevel.QUORUM, timeout=3000, req_id=req_id, since=since)
        for req_id in ("done", "who knows")
    )
    new = cluster.submit(host.addr, incr, AckLevel.QUORUM, timeout=3000, req_id="new")
    assert (done.ended.refusal, done.ended.outcome) == (None, b"1")
    assert unknown.ended.refusal is Refusal.OUTCOME_UNKNOWN
    assert new.ended.refusal is Refusal.BUSY


def test_what_a_worker_sends_again_soon_is_answered_as_the_first_time(stage):
    cluster = stage()
    leader = cluster.settle()
    host = cluster.followers()[0]
    since = host.page_since
    for _ in range(3):
        operation = cluster.submit(
            host.addr, Command("incr", "n", 1), AckLevel.QUORUM, timeout=3000, req_id="same", since=since
        )
        cluster.run(100)
        assert (operation.ended.refusal, operation.ended.outcome) == (None, b"1")
    assert cluster.value(leader, "n") == 1


def test_who_asks_with_the_same_id_while_the_first_waits_ends_the_wait_of_the_first(stage):
    cluster = stage()
    leader = cluster.settle()
    first, second = (
        cluster.submit(leader.addr, Command("incr", "n", 1), AckLevel.QUORUM, timeout=3000, req_id="same")
        for _ in range(2)
    )
    cluster.run(100)
    assert first.ended.refusal is Refusal.OUTCOME_UNKNOWN
    assert (second.ended.refusal, second.ended.outcome) == (None, b"1")
