"""A host without room: what is committed is applied all the same, and what it drops for that is a miss on it alone."""

from __future__ import annotations

import pytest

from django_hacache.consensus.hard_state import HardState
from django_hacache.consensus.messages import Entry
from django_hacache.consensus.ready import Ready
from django_hacache.exceptions import ReplicaFull
from django_hacache.node.evaluation.evaluator import Evaluator
from django_hacache.node.storage.reserve import FILE_NAME as RESERVE_NAME
from django_hacache.node.storage.room_maker import RoomMaker
from django_hacache.node.storage.storage import Storage, load
from django_hacache.replica.clock import boottime_ns
from django_hacache.replica.replica import Replica
from django_hacache.values.serializers import encode, integer_to_bytes
from django_hacache.wire import cache_pb2 as pb

HARD = HardState("identity", 1, fresh=False)
MIB = 1 << 20
BORN = boottime_ns() // 1_000_000


def entry(index, key, value, **more):
    effect = pb.Effects(effects=[pb.Effect(set=pb.SetEffect(cache_name="c", entry=key, value=value, **more))])
    return Entry(index, 1, effect.SerializeToString(), born_ms=1000)


class Host:
    """A host that applies one entry after the other."""

    def __init__(self, directory, map_size=1 << 30):
        self.directory = directory
        self.map_size = map_size
        self.index = 0
        self.start()

    def start(self):
        self.replica = Replica.open(self.directory, writable=True, map_size=self.map_size, keeps_journal=True)
        self.maker = RoomMaker(self.replica)
        self.maker.prepare()
        self.storage = Storage(self.replica, self.maker.store)

    def apply(self, key, value, **more):
        self.index += 1
        one = entry(self.index, key, value, **more)
        # The log keeps the latest few, as the core has it.
        kept = max(self.index - 4, 0)
        self.storage.write(
            Ready(entries=[one], apply=[one], compact_to=kept or None, compact_term=1), HARD, 0
        )

    def has(self, key):
        return self.replica.get("c", key) is not None


@pytest.fixture
def hosts():
    opened = []

    def opened_in(directory, **arguments):
        opened.append(Host(directory, **arguments))
        return opened[-1]

    yield opened_in
    for host in opened:
        host.replica.close()


@pytest.mark.parametrize("size", [100, 3000, 200_000])
def test_what_is_committed_is_applied_on_a_file_system_that_is_full(hosts, small_tmpfs, size):
    host = hosts(small_tmpfs)
    for number in range(8 * MIB // (size + 100)):
        host.apply(f"k{number}", bytes(size))
        assert host.has(f"k{number}")
    assert not host.has("k0")


def test_a_node_comes_up_with_a_replica_that_fills_its_file_system(hosts, small_tmpfs, rng):
    host = hosts(small_tmpfs)
    for number in range(30):
        host.apply(f"k{number}", bytes(100_000))
    host.replica.close()
    (small_tmpfs / RESERVE_NAME).unlink(missing_ok=True)
    with (
        (small_tmpfs.parent / "of others").open("wb", buffering=0) as others,
        pytest.raises(OSError, match="space"),
    ):
        while True:
            others.write(bytes(4096))
    host.start()
    found = load(host.replica, rng)
    assert (found.applied, found.hard) == (30, HARD)
    assert host.has("k29")
    host.apply("k30", bytes(100_000))
    assert host.has("k30")


def test_a_map_that_is_full_grows_where_the_file_system_has_room(hosts, tmp_path):
    host = hosts(tmp_path / "location", map_size=MIB)
    for number in range(30):
        host.apply(f"k{number}", bytes(100_000))
    assert all(host.has(f"k{number}") for number in range(30))


def test_what_does_not_fit_into_an_empty_cache_is_an_error(hosts, small_tmpfs):
    host = hosts(small_tmpfs)
    host.apply("small", b"1")
    with pytest.raises(ReplicaFull, match="is full"):
        host.apply("large", bytes(8 * MIB))
    host.index -= 1
    host.replica.erase()
    host.apply("small", b"2")
    assert host.has("small")


@pytest.mark.parametrize("ttl_ms", [None, 3_600_000])
def test_a_dropped_counter_is_there_again_with_the_next_increment_and_ends_when_the_leaders_does(
    hosts, tmp_path, ttl_ms
):
    leader, full = hosts(tmp_path / "leader"), hosts(tmp_path / "full")
    evaluator = Evaluator(leader.replica)
    put = pb.Put(cache_name="c", entry="k", value=encode(1), ttl_ms=ttl_ms)
    increment = pb.Increment(cache_name="c", entry="k", delta=integer_to_bytes(1))
    for index, request in enumerate((pb.CacheRequest(put=put), pb.CacheRequest(increment=increment)), 1):
        effects, _ = evaluator.evaluate(request, index, BORN)
        one = Entry(index, 1, effects, born_ms=BORN)
        leader.storage.write(Ready(entries=[one], apply=[one]), HARD, 0)
    # It has dropped the entry meanwhile: only the increment arrives.
    full.storage.write(Ready(entries=[one], apply=[one]), HARD, 0)
    assert full.replica.item("c", "k") == leader.replica.item("c", "k")


def test_a_counter_that_was_logged_before_its_time_to_live_was_said_is_a_miss_until_it_is_set_again(replica):
    """That it keeps its time to live says nothing on a host that does not know it any more."""
    storage = Storage(replica)
    counted = entry(1, "k", b"2", keep_ttl=True)
    storage.write(Ready(entries=[counted], apply=[counted]), HARD, 0)
    assert replica.get("c", "k") is None
    again = entry(2, "k", b"3")
    storage.write(Ready(entries=[again], apply=[again]), HARD, 0)
    assert replica.get("c", "k") == b"3"


def test_a_leader_that_has_dropped_an_entry_still_deletes_it_on_the_others(replica):
    request = pb.CacheRequest(remove=pb.Remove(cache_name="c", entry="dropped"))
    effect, _ = Evaluator(replica).evaluate(request, 1, 0)
    assert [one.WhichOneof("effect") for one in pb.Effects.FromString(effect).effects] == ["delete"]
