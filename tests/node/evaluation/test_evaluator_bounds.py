"""What one change may be and take: what is more is refused, and leaves nothing behind."""

from __future__ import annotations

import pytest

from django_hacache.consensus.messages import NeverOrdered, Refusal
from django_hacache.node.housekeeping import gate_of
from django_hacache.node.requests.validation import BATCH_BYTES_MAX, BATCH_CHANGES_MAX, ENTRY_BYTES_MAX
from django_hacache.node.transport.authentication.credentials import RECEIVE_BYTES
from django_hacache.replica.clock import boottime_ns
from django_hacache.replica.eviction import Limits
from django_hacache.values.serializers import (
    INTEGER_BYTES_MAX,
)
from django_hacache.wire import cache_pb2 as pb
from tests.node.leading import (
    HOUR_MS,
    TAKEN,
    added,
    batch,
    change_to,
    cleared,
    overlay_of,
    raised_by,
    removed,
    unchanged_since,
)


def test_what_takes_more_than_an_entry_may_have_is_refused_and_leaves_nothing_behind(leader):
    leader = leader.with_(entry_bytes_max=200)
    leader.decide(insert=change_to("first"))
    leader.decide(insert=change_to("other", "other"))
    before = overlay_of(leader)
    too_much = batch(change_to("second"), cleared(), change_to("third", "new"), change_to("x" * 200))
    with pytest.raises(NeverOrdered, match="more than 200 bytes") as caught:
        leader.decide(batch=too_much)
    assert caught.value.refusal is Refusal.TOO_LARGE
    assert overlay_of(leader) == before
    leader.index -= 1
    assert leader.decide(insert=added("second")) == (False, pb.REASON_PRESENT)
    assert leader.decide(insert=added("third", "new")) == TAKEN


def test_a_small_request_cannot_become_an_entry_that_no_connection_takes(leader):
    """An integer is added to up to a bound; a larger one is changed by the workers, as any other value."""
    assert ENTRY_BYTES_MAX + (2 << 20) < RECEIVE_BYTES
    bounded, large = 1 << (8 * INTEGER_BYTES_MAX - 2), 1 << 64_000
    leader.decide(insert=change_to(bounded))
    leader.decide(insert=change_to(large, "large"))
    outcome = leader.ask(batch=batch(*[raised_by(1, "large")] * 2, *[raised_by(1)] * (BATCH_CHANGES_MAX - 2)))
    assert outcome.mod_res == [False] * 2 + [True] * (BATCH_CHANGES_MAX - 2)
    assert len(leader.waiting[-1].effect) < 2 * BATCH_CHANGES_MAX * INTEGER_BYTES_MAX
    assert leader.decide(increment=raised_by(1, "large")) == (False, pb.REASON_NOT_AN_INTEGER)


@pytest.mark.parametrize(
    ("change", "refusal", "named"),
    [
        ({"batch": batch(*[cleared()] * (BATCH_CHANGES_MAX + 1))}, Refusal.INVALID, "501 changes"),
        ({"batch": pb.Batch()}, Refusal.INVALID, "0 changes"),
        ({"batch": pb.Batch(changes=[pb.Change()])}, Refusal.INVALID, "empty"),
        ({"clear": pb.Clear(cache_name="")}, Refusal.INVALID, "1 to 255 bytes"),
        ({"clear": pb.Clear(cache_name="x" * 256)}, Refusal.INVALID, "1 to 255 bytes"),
        ({"insert": pb.Insert(cache_name="a\0b", entry="key")}, Refusal.INVALID, "1 to 255 bytes"),
        ({"insert": change_to("value", "k" * ((1 << 20) + 1))}, Refusal.TOO_LARGE, "1048577 characters"),
        ({"insert": change_to("value", req_id="r" * 256)}, Refusal.TOO_LARGE, "256 characters"),
        ({"increment": raised_by(1 << (8 * INTEGER_BYTES_MAX))}, Refusal.INVALID, "a delta of 1025 bytes"),
        ({"increment": pb.Increment(cache_name="default", entry="n")}, Refusal.INVALID, "a delta of 0 bytes"),
        ({"insert": change_to("value", condition=9)}, Refusal.INVALID, "condition 9"),
    ],
)
def test_what_a_node_forwards_is_looked_at_as_what_a_client_asks_for(leader, change, refusal, named):
    leader = leader.with_(gate=gate_of(leader.replica, {"default": Limits(1 << 20, None, 3)}))
    assert leader.evaluator.lacks(pb.CacheRequest(**change), 10) is None
    with pytest.raises(NeverOrdered, match=named) as caught:
        leader.decide(**change)
    assert caught.value.refusal is refusal


def test_a_touch_counts_with_the_value_that_replicas_write_anew_for_it(leader):
    """A handful of them would fill a small file system otherwise: replicas then drop what they hold."""
    limit = 1 << 20
    leader = leader.with_(gate=gate_of(leader.replica, {"default": Limits(limit, None, 3)}))
    for number in range(3):
        leader.decide(insert=change_to(bytes(limit // 4), f"key {number}"))
    leader.apply()
    request = pb.CacheRequest(touch=pb.Touch(cache_name="default", entry="key 0", ttl_ms=HOUR_MS))
    touched = 0
    while leader.evaluator.lacks(request, request.ByteSize()) is None:
        assert leader.decide(touch=request.touch) == TAKEN
        touched += 1
    assert 1 <= touched <= 7
    leader.apply()
    assert leader.evaluator.lacks(request, request.ByteSize()) is None


def test_a_touch_counts_with_all_of_a_value_of_which_only_the_beginning_was_looked_at(leader):
    """Once for the replica's entry, once for what a touch before it has left."""
    leader.decide(insert=change_to(bytes(5000)))
    leader.apply()
    for _ in range(2):
        leader.decide(touch=pb.Touch(cache_name="default", entry="key", ttl_ms=HOUR_MS))
        assert leader.evaluator._store.rewritten >= 5000


def test_what_a_condition_looks_at_is_not_copied_however_large_it_is(leader, monkeypatch):
    """A few bytes of each change could read some MiB: five hundred in a batch would take a leader seconds."""
    leader.decide(insert=change_to(bytes(1 << 20)))
    leader.apply()
    monkeypatch.setattr(leader.replica, "raw", lambda *_: pytest.fail("it was read as a whole"))
    assert leader.decide(insert=added("x")) == (False, pb.REASON_PRESENT)
    assert leader.decide(increment=raised_by(1)) == (False, pb.REASON_NOT_AN_INTEGER)
    assert leader.decide(insert=unchanged_since(1, "y")) == (False, pb.REASON_CHANGED)
    assert leader.decide(remove=removed()) == TAKEN


@pytest.mark.parametrize(
    ("size", "kind"), [(1000, "touch"), (5000, "touch"), (10_000, "set"), (1 << 20, "set")]
)
def test_a_touch_of_a_large_value_counts_for_what_every_replica_does(leader, size, kind):
    touch = pb.Touch(cache_name="default", entry="key", ttl_ms=HOUR_MS)
    leader.decide(insert=change_to(bytes(size)))
    leader.apply()
    for _ in range(2):  # the second one while the first is not applied yet
        assert leader.decide(touch=touch) == TAKEN
        assert leader.latest() == [kind]
    leader.apply()
    assert leader.holds() == bytes(size)
    assert leader.replica.item("default", "key").expires_at > boottime_ns()


def test_touches_of_large_values_are_bounded_in_what_they_write(leader):
    leader.decide(insert=change_to(bytes(1 << 20)))
    leader.apply()
    touch, before = pb.Touch(cache_name="default", entry="key"), overlay_of(leader)
    with pytest.raises(NeverOrdered, match=f"more than {ENTRY_BYTES_MAX} bytes"):
        leader.decide(batch=batch(*[touch] * 12))
    assert overlay_of(leader) == before


@pytest.mark.parametrize("kind", [pb.Insert, pb.Remove, pb.Touch, pb.Increment])
def test_keys_count_among_the_bytes_of_a_batch(leader, kind):
    rest = {"delta": b"\1"} if kind is pb.Increment else {}
    one = kind(cache_name="default", entry="k" * (1 << 20), **rest)
    with pytest.raises(NeverOrdered, match="3 changes with") as caught:
        leader.decide(batch=batch(one, one, one))
    assert caught.value.refusal is Refusal.TOO_LARGE


def test_a_batch_of_several_changes_has_a_bounded_number_of_bytes_and_one_alone_may_be_larger(leader):
    large = bytes(BATCH_BYTES_MAX // 2 + 1)
    with pytest.raises(NeverOrdered, match="2 changes with") as caught:
        leader.decide(batch=batch(change_to(large, "a"), change_to(large, "b")))
    assert caught.value.refusal is Refusal.TOO_LARGE
    assert leader.ask(batch=batch(change_to(2 * large))).mod_res == [True]
