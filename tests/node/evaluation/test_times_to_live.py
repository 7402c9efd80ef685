"""Times to live and touches, as the leader decides about them; and what it remembers until it is applied."""

from __future__ import annotations

import pytest

from django_hacache.consensus.messages import Entry
from django_hacache.node.evaluation.evaluator import Evaluator
from django_hacache.node.storage import effects
from django_hacache.replica.clock import MS, boottime_ns, now_ms
from django_hacache.replica.layout import replica_key
from django_hacache.wire import cache_pb2 as pb

HOUR_MS = 3_600_000


class Order:
    """A leader's order over one replica: changes are decided at once and applied when the test says so."""

    def __init__(self, replica):
        self.replica = replica
        self.evaluator = Evaluator(replica)
        self.index = 0
        self.pending = []

    def decide(self, age_ms=0, **request):
        """The outcome of a change that was taken `age_ms` ago."""
        now = now_ms() - age_ms
        self.index += 1
        effect, outcome = self.evaluator.evaluate(pb.CacheRequest(**request), self.index, now)
        self.pending.append(Entry(self.index, 1, effect, born_ms=now))
        return pb.Outcome.FromString(outcome)

    def remove(self, key):
        now = now_ms()
        self.index += 1
        effect = self.evaluator.removal("c", [replica_key(key)], self.index, now)
        self.pending.append(Entry(self.index, 1, effect, born_ms=now))

    def apply(self):
        with self.replica.write() as transaction:
            for entry in self.pending:
                effects.apply(transaction, entry)
        self.evaluator.applied(self.pending.pop().index)
        self.pending.clear()

    def value(self, entry, cache="c"):
        return self.replica.get(cache, entry)

    def insert(self, entry="a", value=b"1", age_ms=0, **more):
        return self.decide(age_ms, insert=pb.Insert(cache_name="c", entry=entry, value=value, **more))

    def add(self, entry="a", value=b"1", **more):
        return self.insert(entry, value, condition=pb.CONDITION_ABSENT, **more)

    def replace(self, entry="a", value=b"1", **more):
        return self.insert(entry, value, condition=pb.CONDITION_PRESENT, **more)

    def swap(self, version, entry="a", value=b"1"):
        return self.insert(entry, value, condition=pb.CONDITION_UNCHANGED, expected_version=version)

    def delete(self, entry="a"):
        return self.decide(remove=pb.Remove(cache_name="c", entry=entry))

    def touch(self, entry="a", **more):
        return self.decide(touch=pb.Touch(cache_name="c", entry=entry, **more))

    def clear(self, cache="c"):
        return self.decide(clear=pb.Clear(cache_name=cache))


@pytest.fixture
def order(replica):
    return Order(replica)


@pytest.fixture(params=["pending", "applied"])
def settle(request, order):
    """Every rule holds whether what came before is applied yet or not."""
    return order.apply if request.param == "applied" else lambda: None


def effective(outcome):
    return outcome.mod_res[0]


def test_what_has_expired_is_absent_for_conditions_though_it_is_still_stored(order, settle):
    order.insert(age_ms=1000, ttl_ms=1)
    settle()
    assert not effective(order.touch())
    assert not effective(order.replace())
    assert not effective(order.delete())
    assert effective(order.add(value=b"2"))
    order.apply()
    assert order.value("a") == b"2"


def test_base_changes_ask_for_no_condition(order):
    assert effective(order.decide(put=pb.Put(cache_name="c", entry="a", value=b"1")))
    order.apply()
    assert order.value("a") == b"1"
    assert effective(order.decide(**{"del": pb.Del(cache_name="c", entry="a")}))
    order.apply()
    assert order.value("a") is None


def test_a_touch_changes_the_version(order, settle):
    order.insert()
    order.apply()
    seen = order.replica.item("c", "a").version
    order.touch(ttl_ms=HOUR_MS)
    settle()
    assert not effective(order.swap(seen))


def expires(order, entry="a"):
    return order.replica.item("c", entry).expires_at


def test_a_kept_time_to_live_is_the_one_that_the_entry_had(order, settle):
    order.insert(ttl_ms=HOUR_MS)
    order.apply()
    before = expires(order)
    order.insert(value=b"2", keep_ttl=True)
    settle()
    order.insert(value=b"3", keep_ttl=True)
    order.apply()
    assert expires(order) == before
    assert order.value("a") == b"3"


def test_a_touch_gives_a_new_time_to_live_and_keeps_the_value(order, settle):
    order.insert(value=b"kept")
    settle()
    assert effective(order.touch(ttl_ms=HOUR_MS))
    order.apply()
    assert expires(order) > boottime_ns()
    assert effective(order.touch())
    order.apply()
    assert (expires(order), order.value("a")) == (0, b"kept")


@pytest.mark.parametrize("ttl_ms", [2**63, 2**64 - 1])
def test_a_time_to_live_beyond_all_clocks_is_stored_and_does_not_expire(order, settle, ttl_ms):
    order.insert(ttl_ms=ttl_ms)
    settle()
    order.touch(ttl_ms=ttl_ms)
    settle()
    assert effective(order.replace(keep_ttl=True))
    order.apply()
    assert order.value("a") == b"1"


def test_a_clear_leaves_the_other_caches_alone(order, settle):
    order.decide(insert=pb.Insert(cache_name="other", entry="a", value=b"1"))
    settle()
    order.clear()
    condition = pb.Insert(cache_name="other", entry="a", value=b"2", condition=pb.CONDITION_PRESENT)
    assert effective(order.decide(insert=condition))


def test_what_is_remembered_goes_when_it_is_applied(order):
    for number in range(100):
        order.insert(str(number))
        order.touch(str(number))
    order.clear()
    order.remove("0")
    order.apply()
    overlay = order.evaluator.overlay
    assert (overlay.pending, overlay.cleared, list(overlay.order)) == ({}, {}, [])


@pytest.mark.parametrize(("ttl_ms", "left"), [(1000, False), (None, True)])
def test_an_entry_that_is_older_than_this_host_s_uptime_ends_in_time(replica, ttl_ms, left):
    effect = pb.SetEffect(cache_name="c", entry="a", value=b"1", ttl_ms=ttl_ms)
    serialized = pb.Effects(effects=[pb.Effect(set=effect)]).SerializeToString()
    with replica.write() as transaction:
        effects.apply(transaction, Entry(1, 1, serialized, born_ms=-HOUR_MS))
    assert (replica.get("c", "a") == b"1") is left


def test_what_an_older_entry_has_left_to_live_is_kept(replica):
    born = -HOUR_MS
    ends = now_ms() + HOUR_MS
    assert effects.expires_at(born, ends - born) == ends * MS
