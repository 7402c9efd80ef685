"""What the leader decides about a change, from its replica and from what is in the order above it."""

from __future__ import annotations

import pytest

from django_hacache.node.storage.effects import version_of
from django_hacache.values.serializers import (
    integer_from_bytes,
)
from django_hacache.values.signing import codec_of
from django_hacache.wire import cache_pb2 as pb
from tests.node.leading import (
    HOUR_MS,
    TAKEN,
    Leader,
    added,
    change_to,
    cleared,
    raised_by,
    removed,
    unchanged_since,
)


def test_add_takes_effect_where_nothing_is(leader):
    assert leader.decide(insert=added("first")) == TAKEN
    leader.apply()
    assert leader.holds() == "first"


def test_add_leaves_what_the_replica_holds(leader):
    leader.decide(insert=change_to("first"))
    leader.apply()
    assert leader.decide(insert=added("second")) == (False, pb.REASON_PRESENT)
    leader.apply()
    assert leader.holds() == "first"


def test_add_sees_a_set_that_is_not_applied_yet(leader):
    leader.decide(insert=change_to("first"))
    assert leader.holds() is None
    assert leader.decide(insert=added("second")) == (False, pb.REASON_PRESENT)


def test_add_sees_a_removal_that_is_not_applied_yet(leader):
    leader.decide(insert=change_to("first"))
    leader.apply()
    leader.decide(remove=removed())
    assert leader.holds() == "first"
    assert leader.decide(insert=added("second")) == TAKEN


def test_add_takes_the_place_of_what_has_expired(leader):
    leader.decide(insert=change_to("first", ttl_ms=0))
    assert leader.decide(insert=added("second")) == TAKEN
    leader.apply()
    assert leader.decide(insert=change_to("third", ttl_ms=0)) == TAKEN
    leader.apply()
    assert leader.decide(insert=added("fourth")) == TAKEN


def test_a_change_of_what_is_present_needs_something_present(leader):
    replaced = change_to("value", condition=pb.CONDITION_PRESENT)
    assert leader.decide(insert=replaced) == (False, pb.REASON_ABSENT)
    leader.decide(insert=change_to("first"))
    assert leader.decide(insert=replaced) == TAKEN


def test_clear_hides_what_the_replica_holds_until_it_is_applied(leader):
    leader.decide(insert=change_to(1))
    leader.apply()
    assert leader.decide(clear=cleared()) == TAKEN
    assert leader.holds() == 1
    assert leader.decide(increment=raised_by(1)) == (False, pb.REASON_ABSENT)
    assert leader.decide(remove=removed()) == (False, pb.REASON_ABSENT)
    assert leader.decide(insert=added(2)) == TAKEN
    leader.apply()
    assert leader.holds() == 2


def test_clear_hides_what_was_set_in_the_order_before_it(leader):
    leader.decide(insert=change_to("first"))
    leader.decide(clear=cleared())
    assert leader.decide(insert=added("second")) == TAKEN
    leader.apply()
    assert leader.holds() == "second"


def test_what_is_set_after_a_clear_is_seen(leader):
    leader.decide(clear=cleared())
    leader.decide(insert=change_to("first"))
    assert leader.decide(insert=added("second")) == (False, pb.REASON_PRESENT)


def test_a_second_clear_goes_on_hiding_when_the_first_is_applied(leader):
    leader.decide(insert=change_to("first"))
    leader.apply()
    leader.decide(clear=cleared())
    leader.decide(clear=cleared())
    leader.evaluator.applied(leader.index - 1)
    assert leader.decide(insert=added("second")) == TAKEN


@pytest.mark.parametrize(
    ("start", "delta"),
    [
        (2**63 - 1, 1),
        (2**64 - 1, 1),
        (-(2**63), -1),
        (2**200, 2**200),
        (5, -10),
        (-5, 10),
        (-1, 1),
        (0, -1),
        (7, 0),
    ],
)
def test_increment_adds_integers_of_any_size_and_sign(leader, start, delta):
    leader.decide(insert=change_to(start))
    assert integer_from_bytes(leader.ask(increment=raised_by(delta)).value) == start + delta
    leader.apply()
    assert leader.holds() == start + delta


def test_increments_in_the_order_add_up(leader):
    leader.decide(insert=change_to(1))
    told = [integer_from_bytes(leader.ask(increment=raised_by(1)).value) for _ in range(3)]
    assert told == [2, 3, 4]
    leader.apply()
    assert leader.holds() == 4


def test_increment_keeps_the_time_to_live(leader):
    leader.decide(insert=change_to(1, ttl_ms=HOUR_MS))
    leader.apply()
    ends = leader.replica.item("default", "key").expires_at
    leader.decide(increment=raised_by(1))
    leader.apply()
    assert leader.replica.item("default", "key").expires_at == ends


def test_increment_of_a_missing_key_tells_no_value(leader):
    outcome = leader.ask(increment=raised_by(1))
    assert (list(outcome.mod_res), outcome.reason) == ([False], pb.REASON_ABSENT)
    assert not outcome.HasField("value")
    assert not leader.latest()


@pytest.mark.parametrize("value", ["1", 1.0, True, None])
def test_increment_leaves_what_is_no_integer(leader, value):
    leader.decide(insert=change_to(value))
    assert leader.decide(increment=raised_by(1)) == (False, pb.REASON_NOT_AN_INTEGER)
    leader.apply()
    assert leader.holds() == value


def test_increment_leaves_an_empty_value(leader):
    leader.decide(insert=pb.Insert(cache_name="default", entry="key"))
    assert leader.decide(increment=raised_by(1)) == (False, pb.REASON_NOT_AN_INTEGER)


def test_a_change_of_a_version_takes_effect_once(leader):
    leader.decide(insert=change_to("first"))
    leader.apply()
    version = leader.replica.item("default", "key").version
    assert leader.decide(insert=unchanged_since(version, "second")) == TAKEN
    assert leader.decide(insert=unchanged_since(version, "third")) == (False, pb.REASON_CHANGED)
    leader.apply()
    assert leader.holds() == "second"
    assert leader.decide(insert=unchanged_since(version, "fourth")) == (False, pb.REASON_CHANGED)


def test_the_version_in_the_order_is_the_one_that_the_replica_gets(leader):
    leader.decide(insert=change_to("first"))
    version = version_of(leader.index, 0)
    assert leader.decide(insert=unchanged_since(version, "second")) == TAKEN
    leader.apply()
    assert leader.replica.item("default", "key").version == version_of(leader.index, 0)


def test_a_change_of_a_version_needs_something_present(leader):
    assert leader.decide(insert=unchanged_since(0, "value")) == (False, pb.REASON_ABSENT)


def test_remove_of_a_missing_key_is_told_absent_and_still_goes_to_hosts_that_may_hold_it(leader):
    assert leader.decide(remove=removed()) == (False, pb.REASON_ABSENT)
    assert leader.latest() == ["delete"]


def test_remove_takes_effect_once(leader):
    leader.decide(insert=change_to("value"))
    assert leader.decide(remove=removed()) == TAKEN
    assert leader.decide(remove=removed()) == (False, pb.REASON_ABSENT)
    leader.apply()
    assert leader.holds() is None


def test_remove_of_what_has_expired_is_told_absent_and_still_frees_it(leader):
    leader.decide(insert=change_to("value", ttl_ms=0))
    leader.apply()
    assert leader.decide(remove=removed()) == (False, pb.REASON_ABSENT)
    assert leader.latest() == ["delete"]
    leader.apply()
    assert leader.replica.present("default", "key") is None


def test_the_changes_of_a_batch_see_each_other(leader):
    changes = [
        pb.Change(insert=added(1)),
        pb.Change(insert=added(2)),
        pb.Change(increment=raised_by(4)),
        pb.Change(remove=removed("other")),
    ]
    assert list(leader.ask(batch=pb.Batch(changes=changes)).mod_res) == [True, False, True, False]
    leader.apply()
    assert leader.holds() == 5


def test_an_eviction_spares_the_keys_that_the_order_changes(leader):
    for entry in ("set", "removed", "idle"):
        leader.decide(insert=change_to("value", entry))
    leader.apply()
    leader.decide(insert=change_to("newer", "set"))
    leader.decide(remove=removed("removed"))
    effects = pb.Effects.FromString(leader.remove_keys(b"set", b"removed", b"idle")).effects
    assert [list(one.remove_keys.keys) for one in effects] == [[b"idle"]]


def test_an_eviction_of_nothing_else_than_pending_keys_is_empty(leader):
    leader.decide(insert=change_to("value"))
    assert leader.remove_keys(b"key") == b""


def test_an_eviction_spares_a_cache_that_is_being_cleared(leader):
    leader.decide(insert=change_to("value"))
    leader.apply()
    leader.decide(clear=cleared())
    assert leader.remove_keys(b"key") == b""


def test_what_is_being_evicted_is_absent_for_the_changes_after_it(leader):
    leader.decide(insert=change_to("first"))
    leader.apply()
    leader.remove_keys(b"key")
    assert leader.decide(insert=added("second")) == TAKEN


def test_abandon_forgets_what_may_never_be_applied(leader):
    leader.decide(insert=change_to("first"))
    leader.evaluator.abandon()
    assert leader.decide(insert=added("second")) == TAKEN


def test_abandon_forgets_a_clear(leader):
    leader.decide(insert=change_to("first"))
    leader.apply()
    leader.decide(clear=cleared())
    leader.evaluator.abandon()
    assert leader.decide(insert=added("second")) == (False, pb.REASON_PRESENT)


def test_abandon_lets_an_eviction_have_the_key_again(leader):
    leader.decide(insert=change_to("first"))
    leader.evaluator.abandon()
    assert leader.remove_keys(b"key") != b""


NEW, KEY, FORMER = (name * 32 for name in (b"n", b"k", b"f"))


@pytest.fixture
def signing(leader):
    return Leader(leader.replica, codecs={"default": codec_of("default", [KEY, FORMER])})


def signed(value, key=KEY, *, entry="key", cache="default"):
    return pb.Insert(cache_name="default", entry="key", value=codec_of(cache, [key]).encode(entry, value))


@pytest.mark.parametrize("key", [KEY, FORMER])
def test_a_signed_integer_is_added_to_and_signed_again_with_the_first_key(signing, key):
    signing.decide(insert=signed(41, key))
    for waits in (True, False):
        outcome = signing.ask(increment=raised_by(1))
        assert outcome.mod_res == [True]
        assert integer_from_bytes(outcome.value) == 43 - waits
        signing.apply()
        stored = signing.replica.get("default", "key")
        assert codec_of("default", [KEY]).decode("key", stored) == 43 - waits


@pytest.mark.parametrize(
    "insert",
    [
        change_to(41),
        signed(41, NEW),
        signed(41, entry="another"),
        signed(41, cache="another"),
        signed("41"),
    ],
    ids=["not signed", "signed with another key", "moved", "of another cache", "no integer"],
)
def test_an_integer_that_is_not_proved_is_left_to_whoever_can(signing, insert):
    signing.decide(insert=insert)
    assert signing.decide(increment=raised_by(1)) == (False, pb.REASON_NOT_AN_INTEGER)
    signing.apply()
    assert signing.replica.get("default", "key") == insert.value


def test_a_leader_without_keys_leaves_a_signed_integer_to_the_worker(leader):
    leader.decide(insert=signed(41))
    assert leader.decide(increment=raised_by(1)) == (False, pb.REASON_NOT_AN_INTEGER)
