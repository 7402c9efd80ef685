"""What has to go leaves through the log of the leader."""

from __future__ import annotations

import pytest

from django_hacache.consensus.config import CoreConfig
from django_hacache.consensus.core import Core
from django_hacache.consensus.messages import AckLevel, Generation
from django_hacache.node.evaluation.catalogue import Catalogue
from django_hacache.node.evaluation.evaluator import Evaluator
from django_hacache.node.evaluation.gate import most_of
from django_hacache.node.housekeeping import (
    EVERY_IDLE_MS,
    REMOVAL_BYTES,
    REMOVAL_KEYS,
    STEP_KEYS_MAX,
    UNUSED_MS,
    Housekeeping,
    gate_of,
    limits_within,
    values_within,
)
from django_hacache.node.storage.storage import Storage, load
from django_hacache.replica.clock import NEVER, now_ms
from django_hacache.replica.eviction import Limits
from django_hacache.replica.room import Room
from django_hacache.replica.transaction import ReadTransaction
from django_hacache.wire import cache_pb2 as pb
from tests.cache.site import cache_settings
from tests.node.options import options_of

UNLIMITED = Limits(32 << 20, None, 3)


class Leader:
    """A cluster of one, without its transports; the test is its clock."""

    def __init__(self, replica, rng, limits, peers=(), catalogue=None):
        self.replica = replica
        self.storage = Storage(replica)
        gate = gate_of(replica, limits)
        evaluator = Evaluator(replica, gate)
        self.evaluator = evaluator
        self.now = now_ms()
        found = load(replica, rng)
        self.core = Core(
            CoreConfig("127.0.0.1:1", peers),
            found.hard,
            found.log,
            applied=found.applied,
            evaluator=evaluator,
            now_ms=self.now,
            rng=rng,
            size_of=pb.CacheRequest.ByteSize,
        )
        self.housekeeping = Housekeeping(self.core, replica, evaluator, limits, gate, catalogue)
        self.changes = 0

    def pass_time(self, ms):
        for _ in range(0, ms, 100):
            self.now += 100
            self.core.tick(self.now)
            self.housekeeping.run(self.now)
            self.carry_out()

    def carry_out(self):
        ready = self.core.take_ready()
        self.storage.write(ready, self.core.hard, self.core.table.floor)
        if ready.apply:
            self.evaluator.applied(self.core.state.applied)
            if self.housekeeping.applied(ready.apply):
                self.housekeeping.step(self.now)
        if self.core.unfinished:
            self.carry_out()

    def lead(self):
        for _ in range(100):
            if self.core.accepts:
                return self
            self.pass_time(1000)
        raise AssertionError("no leader")

    def insert(self, entry, value=b"1", **more):
        self.changes += 1
        change = pb.Insert(cache_name="c", entry=entry, value=value, req_id=str(self.changes), **more)
        request = pb.CacheRequest(insert=change)
        self.core.submit(change.req_id, request, AckLevel.QUORUM, None, timeout_ms=5000, now_ms=self.now)
        self.carry_out()

    def stored(self):
        with self.replica.snapshot() as reading:
            entries = sorted(reading.items("c"), key=lambda entry: entry.version)
        return [entry.key.decode() for entry in entries]


def test_a_cache_that_only_other_hosts_know_is_kept_to_the_largest_limit(replica, rng):
    small, large = Limits(1 << 19, None, 3), Limits(1 << 20, None, 3)
    leader = Leader(replica, rng, {"small": small, "large": large}).lead()
    leader.insert("goes", ttl_ms=500)
    for number in range(40):
        leader.insert(str(number), bytes(100_000))
    leader.pass_time(5 * EVERY_IDLE_MS)
    assert small.size_limit < leader.replica.usage("c").bytes <= large.size_limit
    assert leader.stored()[-1] == "39"


@pytest.fixture
def leader(replica, rng):
    def made(limits=UNLIMITED):
        return Leader(replica, rng, {"c": limits}).lead()

    return made


def test_what_has_expired_leaves_the_replica(leader):
    leader = leader()
    leader.insert("stays")
    leader.insert("goes", ttl_ms=500)
    leader.insert("lives", ttl_ms=10_000_000)
    leader.pass_time(500 + 2 * EVERY_IDLE_MS)
    assert leader.stored() == ["stays", "lives"]


def test_every_removal_is_an_entry_of_the_log(leader):
    leader = leader()
    leader.insert("goes", ttl_ms=500)
    before = leader.core.state.log.last_index
    leader.pass_time(500 + 2 * EVERY_IDLE_MS)
    assert leader.core.state.log.last_index == before + 1
    [last] = leader.core.state.log.between(before + 1, before + 1)
    assert [key for one in pb.Effects.FromString(last.effect).effects for key in one.remove_keys.keys] == [
        b"goes"
    ]


def test_where_nothing_has_to_go_the_log_does_not_grow(leader):
    leader = leader()
    leader.insert("stays")
    before = leader.core.state.log.last_index
    leader.pass_time(20 * EVERY_IDLE_MS)
    assert leader.core.state.log.last_index == before


def test_the_oldest_leave_beyond_the_number_of_entries(leader):
    leader = leader(Limits(32 << 20, 10, 2))
    for number in range(15):
        leader.insert(str(number))
    leader.pass_time(2 * EVERY_IDLE_MS)
    stored = leader.stored()
    assert 0 < len(stored) <= 10
    assert stored == [str(number) for number in range(15)][-len(stored) :]


def test_a_cull_frequency_of_zero_empties_a_full_cache_but_for_the_newest_in_bounded_steps(leader):
    count = 2 * STEP_KEYS_MAX
    leader = leader(Limits(32 << 20, count - 1, 0))
    with leader.replica.write() as transaction:
        for number in range(count):
            transaction.set("c", str(number), b"1", version=number + 1, expires_at=NEVER)
    before = leader.core.state.log.last_index
    leader.pass_time(5 * EVERY_IDLE_MS)
    assert leader.stored() == [str(count - 1)]
    log = leader.core.state.log
    for one in log.between(before + 1, log.last_index):
        (removal,) = pb.Effects.FromString(one.effect).effects
        assert len(removal.remove_keys.keys) <= STEP_KEYS_MAX
    leader.insert("later")
    leader.pass_time(2 * EVERY_IDLE_MS)
    assert leader.stored() == [str(count - 1), "later"]


def test_a_cache_beyond_its_size_shrinks_to_it(leader):
    limit = 1 << 20
    leader = leader(Limits(limit, None, 3))
    for number in range(40):
        leader.insert(str(number), bytes(100_000))
    leader.pass_time(5 * EVERY_IDLE_MS)
    assert leader.replica.usage("c").bytes <= limit
    assert leader.stored()[-1] == "39"


def test_who_does_not_lead_removes_nothing(replica, rng):
    alone = Leader(replica, rng, {"c": UNLIMITED}, peers=("127.0.0.1:2", "127.0.0.1:3"))
    with replica.write() as transaction:
        transaction.set("c", "expired", b"1", version=1, expires_at=1)
    alone.pass_time(20_000)
    assert not alone.core.accepts
    assert alone.stored() == ["expired"]


def test_limits_that_a_file_system_cannot_hold_are_kept_to_half_of_it():
    caches = {name: options_of(name) for name in ("default", "second")}
    assert set(caches) < set(cache_settings(""))
    wanted = sum(options.size_limit for options in caches.values())
    assert sum(one.size_limit for one in limits_within(caches, 10 * wanted).values()) == wanted
    assert sum(one.size_limit for one in limits_within(caches, wanted).values()) <= wanted // 2


@pytest.mark.parametrize(("generation", "term"), [(Generation(0, "lost"), 0), (None, -1)])
def test_a_removal_of_an_earlier_leadership_holds_up_none_of_a_later_one(leader, generation, term):
    leader = leader()
    leader.insert("goes", ttl_ms=500)
    # As it was left in an order that is no more; a new generation begins with term 1 again.
    hard = leader.core.hard
    leader.housekeeping._removing["c"] = ((generation or hard.generation, hard.term + term), 1_000_000)
    leader.pass_time(500 + 2 * EVERY_IDLE_MS)
    assert leader.stored() == []


def test_the_size_is_looked_at_in_every_step_whatever_else_has_to_go(leader):
    limit = 1 << 20
    leader = leader(Limits(limit, None, 3))
    for number in range(100):
        leader.insert(f"short{number}", ttl_ms=500)
        leader.insert(str(number), bytes(50_000))
        leader.pass_time(100)
        assert leader.replica.usage("c").bytes <= most_of(limit)
    leader.pass_time(EVERY_IDLE_MS)
    assert leader.replica.usage("c").bytes <= limit


def test_the_number_of_entries_is_looked_at_in_every_step_whatever_else_has_to_go(leader):
    leader = leader(Limits(32 << 20, 20, 3))
    for number in range(100):
        leader.insert(f"short{number}", ttl_ms=500)
        leader.insert(str(number))
        leader.pass_time(100)
    assert leader.replica.usage("c").entries <= 30


@pytest.mark.parametrize("size", [500, 50_000])
def test_eviction_keeps_pace_with_writes_between_two_ticks(leader, size):
    limit = 1 << 20
    leader = leader(Limits(limit, None, 3))
    for number in range(6 * limit // (size + 100)):
        leader.insert(f"k{number}", bytes(size))
        assert leader.replica.usage("c").bytes <= most_of(limit)
    assert leader.stored()[-1] == f"k{number}"


def test_values_larger_than_the_margin_wait_for_no_more_than_what_goes_before_them(leader):
    """Each is nearly the whole cache, and beyond the limit with the pages that it takes."""
    limit = 2 << 20
    leader = leader(Limits(limit, None, 3))
    for number in range(6):
        leader.insert(str(number), bytes(limit))
        leader.pass_time(100)
        assert leader.stored()[-1] == str(number)
    leader.pass_time(EVERY_IDLE_MS)
    assert leader.stored() == ["5"]


def test_for_room_that_all_caches_lack_the_last_entry_of_one_goes_too(leader, monkeypatch):
    leader = leader(Limits(8 << 20, None, 3))
    leader.insert("large", bytes(4 << 20))
    full = Room(map=12 << 20, file=12 << 20, used=8 << 20, growth=0)
    with monkeypatch.context() as patched:
        patched.setattr(ReadTransaction, "room", lambda _: full)
        leader.pass_time(EVERY_IDLE_MS)
        leader.insert("waits", bytes(2 << 20))
        assert leader.stored() == ["large"]
        leader.pass_time(100)
        assert leader.stored() == []
    leader.pass_time(100)
    assert leader.stored() == ["waits"]


def test_a_removal_of_many_keys_is_several_entries_of_a_bounded_size(leader):
    leader = leader(Limits(32 << 20, 50, 0))
    padding = "x" * 400
    changes = [
        pb.Change(insert=pb.Insert(cache_name="c", entry=f"{number}{padding}", value=b"1"))
        for number in range(2000)
    ]
    for name, part in enumerate(changes[begin : begin + 500] for begin in range(0, 2000, 500)):
        request = pb.CacheRequest(batch=pb.Batch(changes=part, req_id=str(name)))
        leader.core.submit(str(name), request, AckLevel.QUORUM, None, timeout_ms=5000, now_ms=leader.now)
        leader.carry_out()
    leader.pass_time(2 * EVERY_IDLE_MS)
    log = leader.core.state.log
    effects = [
        pb.Effects.FromString(entry.effect).effects
        for entry in log.between(log.base_index + 1, log.last_index)
    ]
    removals = [one.remove_keys for (one, *_) in filter(None, effects) if one.HasField("remove_keys")]
    assert len(leader.stored()) == 1
    assert len(removals) > 1
    assert max(one.ByteSize() for one in removals) < 2 * REMOVAL_BYTES
    assert max(len(one.keys) for one in removals) <= REMOVAL_KEYS


def test_values_that_a_file_system_cannot_hold_in_one_piece_are_too_large_for_it():
    caches = {"default": options_of("default")}
    largest = caches["default"].max_value_bytes
    assert values_within(caches, 1 << 40)["default"].max_value_bytes == largest
    assert values_within(caches, largest)["default"].max_value_bytes == largest // 16


def test_a_cache_that_no_host_serves_any_more_is_emptied_after_a_time(replica, rng):
    catalogue = Catalogue(["d"], ["web2"])
    leader = Leader(replica, rng, {"d": UNLIMITED}, catalogue=catalogue).lead()
    for entry in ("a", "b"):
        leader.insert(entry)
    leader.pass_time(UNUSED_MS + 2 * EVERY_IDLE_MS)
    assert leader.stored()  # web2 has not said what it serves
    catalogue.says("web2", ["c", "d"])
    leader.pass_time(UNUSED_MS + 2 * EVERY_IDLE_MS)
    assert leader.stored()  # it does
    catalogue.says("web2", ["d"])
    leader.pass_time(UNUSED_MS // 2)
    assert leader.stored()  # the release may be taken back
    leader.pass_time(UNUSED_MS // 2 + 2 * EVERY_IDLE_MS)
    assert not leader.stored()


def test_one_that_is_served_again_in_time_keeps_what_it_has(replica, rng):
    catalogue = Catalogue(["d"], ["web2"])
    leader = Leader(replica, rng, {"d": UNLIMITED}, catalogue=catalogue).lead()
    leader.insert("a")
    for served in (["d"], ["c", "d"], ["d"]):
        catalogue.says("web2", served)
        leader.pass_time(UNUSED_MS * 2 // 3)
    assert leader.stored()
