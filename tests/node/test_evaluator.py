"""What the leader decides about a change, from its replica and from what is in the order above it."""

from __future__ import annotations

import pytest

from django_hacache.consensus.messages import Entry, NeverOrdered, Refusal
from django_hacache.node.catalogue import Catalogue
from django_hacache.node.credentials import RECEIVE_BYTES
from django_hacache.node.effects import apply, version_of
from django_hacache.node.evaluator import Evaluator
from django_hacache.node.upkeep import gate_of
from django_hacache.node.validation import BATCH_BYTES_MAX, BATCH_CHANGES_MAX, ENTRY_BYTES_MAX
from django_hacache.replica.clock import boottime_ns
from django_hacache.replica.eviction import Limits
from django_hacache.replica.layout import MAX_CACHES
from django_hacache.replica.replica import Replica
from django_hacache.values.serializers import (
    INTEGER_BYTES_MAX,
    decode,
    encode,
    integer_from_bytes,
    integer_to_bytes,
)
from django_hacache.values.signing import codec_of
from django_hacache.wire import cache_pb2 as pb

TAKEN = (True, pb.REASON_NONE)
HOUR_MS = 3_600_000


class Leader:
    """A evaluator whose changes stand in the order until they are applied to its replica."""

    def __init__(self, replica, **given):
        self.replica = replica
        self.evaluator = Evaluator(replica, **given)
        self.waiting = []
        self.index = 0

    def with_(self, **given):
        """A leader of the same replica that is given something else."""
        return Leader(self.replica, **given)

    def ask(self, **change):
        """Order a change; return its outcome."""
        self.index += 1
        now = boottime_ns() // 1_000_000
        effect, outcome = self.evaluator.evaluate(pb.CacheRequest(**change), self.index, now)
        self.waiting.append(Entry(self.index, 1, effect, born=now))
        return pb.Outcome.FromString(outcome)

    def decide(self, **change):
        """Order a change; return whether it takes effect, and why not."""
        outcome = self.ask(**change)
        return outcome.mod_res[0], outcome.reason

    def remove_keys(self, *keys):
        """The effects of an eviction."""
        self.index += 1
        return self.evaluator.removal("default", keys, self.index, 0)

    def latest(self):
        """The effects of the change that was ordered last."""
        return [one.WhichOneof("effect") for one in pb.Effects.FromString(self.waiting[-1].effect).effects]

    def apply(self):
        with self.replica.write() as transaction:
            for entry in self.waiting:
                apply(transaction, entry)
        self.waiting.clear()
        self.evaluator.applied(self.index)

    def holds(self, entry="key"):
        """The value in the replica, or None."""
        value = self.replica.get("default", entry)
        return None if value is None else decode(value)


@pytest.fixture
def leader(tmp_path):
    replica = Replica.open(tmp_path, writable=True, map_size=1 << 26)
    yield Leader(replica)
    replica.close()


def change_to(value, entry="key", **more):
    return pb.Insert(cache_name="default", entry=entry, value=encode(value), **more)


def added(value, entry="key"):
    return change_to(value, entry, condition=pb.CONDITION_ABSENT)


def removed(entry="key"):
    return pb.Remove(cache_name="default", entry=entry)


def raised_by(delta, entry="key"):
    return pb.Increment(cache_name="default", entry=entry, delta=integer_to_bytes(delta))


def cleared():
    return pb.Clear(cache_name="default")


def unchanged_since(version, value):
    return change_to(value, condition=pb.CONDITION_UNCHANGED, expected_version=version)


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


def batch(*changes):
    kinds = {
        pb.Insert: "insert",
        pb.Remove: "remove",
        pb.Clear: "clear",
        pb.Increment: "increment",
        pb.Touch: "touch",
    }
    return pb.Batch(changes=[pb.Change(**{kinds[type(one)]: one}) for one in changes])


def overlay_of(leader):
    overlay = leader.evaluator.overlay
    return (
        {cache: dict(known) for cache, known in overlay.pending.items()},
        dict(overlay.cleared),
        list(overlay.order),
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
    assert leader.evaluator.has_room(pb.CacheRequest(**change), 10)
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
    while leader.evaluator.has_room(request, request.ByteSize()):
        assert leader.decide(touch=request.touch) == TAKEN
        touched += 1
    assert 1 <= touched <= 7
    leader.apply()
    assert leader.evaluator.has_room(request, request.ByteSize())


def test_a_cache_that_no_replica_has_room_for_is_refused_and_the_others_go_on(leader):
    for number in range(MAX_CACHES):
        leader.decide(insert=pb.Insert(cache_name=f"c{number}", entry="key", value=encode(1)))
    for _ in range(2):
        with pytest.raises(NeverOrdered, match="no room for cache 'one more'") as caught:
            leader.decide(insert=pb.Insert(cache_name="one more", entry="key", value=encode(1)))
        assert caught.value.refusal is Refusal.UNKNOWN_CACHE
        leader.apply()
        leader.evaluator.abandon()
    assert leader.decide(insert=pb.Insert(cache_name="c1", entry="key", value=encode(2))) == TAKEN


def in_cache(name, value=1):
    return pb.Insert(cache_name=name, entry="key", value=encode(value))


def full_of_names(leader, catalogue, **more):
    """A leader that has as many caches as there may be."""
    leader = leader.with_(catalogue=catalogue, **more)
    for number in range(MAX_CACHES):
        leader.decide(insert=in_cache(f"c{number}"))
    leader.apply()
    return leader


def test_a_cache_that_no_host_serves_any_more_makes_room_for_one_that_is_new(leader):
    served = [f"c{number}" for number in range(MAX_CACHES) if number not in (7, 9)]
    catalogue = Catalogue([*served[:40], "new", "newer"], ["peer"])
    catalogue.says("peer", [*served[40:], "new"])
    leader = full_of_names(leader, catalogue)
    with leader.replica.write() as transaction:
        transaction.set("c9", "more", b"x", version=1, expires_at=0)
    assert leader.decide(insert=in_cache("new")) == TAKEN
    assert leader.latest() == ["clear", "set"]
    assert leader.evaluator.overlay.find("c7", "key") is None
    assert leader.decide(insert=in_cache("newer")) == TAKEN
    with pytest.raises(NeverOrdered, match="the hosts serve 64 others"):
        leader.decide(insert=in_cache("one too many"))
    leader.apply()
    held = [name for name in ("c7", "c9", "new", "newer") if leader.replica.get(name, "key") is not None]
    assert held == ["new", "newer"]
    assert leader.decide(insert=in_cache("c1", 2)) == TAKEN


def test_caches_that_make_room_for_each_other_again_and_again_are_told_of_once(leader, caplog):
    leader = full_of_names(leader, Catalogue(["new"], []))
    for number in range(10):
        assert leader.decide(insert=in_cache(f"another{number}")) == TAKEN
        leader.apply()
    assert sum("makes room" in message for message in caplog.messages) == 1


def test_while_a_host_has_not_said_what_it_serves_no_cache_makes_room(leader):
    catalogue = Catalogue(["new"], ["10.0.0.12:7001"])
    leader = full_of_names(leader, catalogue)
    with pytest.raises(NeverOrdered, match=r"10\.0\.0\.12:7001 has not said"):
        leader.decide(insert=in_cache("new"))
    catalogue.says("10.0.0.12:7001", ["default"])
    assert leader.decide(insert=in_cache("new")) == TAKEN


def test_a_change_that_is_refused_after_it_made_room_has_made_none(leader):
    leader = full_of_names(leader, Catalogue(["new"], []), entry_bytes_max=100)
    with pytest.raises(NeverOrdered, match="more than 100 bytes"):
        leader.decide(insert=in_cache("new", "x" * 100))
    assert overlay_of(leader) == ({}, {}, [])
    assert leader.decide(insert=in_cache("c0", 2)) == TAKEN
    assert leader.latest() == ["set"]


def test_an_empty_cache_needs_no_place(leader):
    leader = full_of_names(leader, Catalogue([], ["peer"]))
    leader.decide(clear=pb.Clear(cache_name="c3"))
    assert leader.decide(insert=in_cache("new")) == TAKEN
    leader.apply()
    assert leader.replica.get("new", "key") is not None


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
