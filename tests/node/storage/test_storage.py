"""What a node stored is found again by the next process of the same directory, and nothing else is."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from django_hacache.consensus.dedup import Recorded
from django_hacache.consensus.hard_state import HardState, Installing
from django_hacache.consensus.messages import Entry, Generation
from django_hacache.consensus.ready import Ready
from django_hacache.consensus.transfer import Part
from django_hacache.exceptions import ReplicaBroken, ReplicaError, ReplicaFull
from django_hacache.node.encoding.large import LARGE_BYTES
from django_hacache.node.storage import effects, storage
from django_hacache.node.storage.incomplete import REQUESTS, place_of
from django_hacache.node.storage.parts import Arrived
from django_hacache.node.storage.storage import PIECE_BYTES, PLACE, Storage, applied_place, load
from django_hacache.replica.clock import boottime_ns
from django_hacache.replica.pair import FILE_NAME
from django_hacache.wire import cache_pb2 as pb

HOUR_MS = 3_600_000
HARD = HardState(
    "identity",
    7,
    "127.0.0.1:1",
    Generation(3, "third"),
    False,
    Generation(4, "fourth"),
    Installing(b"\xff", 7),
)


def entry(index, term=1, key="key", value=b"value", req_id=""):
    effect = pb.Effects(effects=[pb.Effect(set=pb.SetEffect(cache_name="c", entry=key, value=value))])
    outcome = pb.Outcome(mod_res=[True]).SerializeToString()
    return Entry(index, term, effect.SerializeToString(), req_id, outcome, born_ms=1000 + index)


@pytest.fixture
def restart(open_replica, rng):
    """Stores batches in one process, and returns the replica and what the next process finds."""

    def restarted(*readies, floor=0):
        replica = open_replica()
        storage = Storage(replica)
        for ready in readies:
            storage.write(ready, HARD, floor)
        replica = open_replica()
        return replica, load(replica, rng)

    return restarted


def entries_of(found):
    return list(found.log.between(found.log.base_index + 1, found.log.last_index))


def test_a_first_start_finds_a_fresh_node(restart):
    _, found = restart()
    assert found.hard.fresh
    assert (found.hard.term, found.hard.vote, found.hard.generation) == (0, "", None)
    assert (found.log.last_index, found.applied, found.requests) == (0, 0, [])


def test_two_fresh_nodes_are_two_incarnations(restart, rng):
    replica, found = restart()
    assert load(replica, rng).hard.incarnation != found.hard.incarnation


def test_term_vote_and_generations_are_found_again(restart):
    _, found = restart(Ready(hard_state=HARD))
    assert found.hard == HARD


@pytest.mark.parametrize(("installing", "fresh"), [(False, False), (True, True)])
def test_what_an_earlier_version_stored_is_found_or_begun_anew_where_it_was_no_whole_replica(
    restart, rng, installing, fresh
):
    replica, _ = restart(Ready(hard_state=HARD))
    with replica.write() as transaction:
        stored = json.loads(transaction.journal.get_meta(storage.HARD)) | {"installing": installing}
        transaction.journal.put_meta(storage.HARD, json.dumps(stored).encode())
    hard = load(replica, rng).hard
    assert hard.installing is None
    assert hard.fresh is fresh


def test_the_identity_is_stored_with_the_first_thing_that_is(restart):
    _, found = restart(Ready(entries=[entry(1)]))
    assert found.hard == HARD


def test_the_log_is_found_again_with_the_birth_of_its_entries(restart):
    log = [entry(1, req_id="a"), Entry(2, 5, born_ms=9), entry(3, 5)]
    _, found = restart(Ready(entries=log))
    assert entries_of(found) == log


def test_a_replaced_tail_is_found_as_it_was_replaced(restart):
    _, found = restart(
        Ready(entries=[entry(index) for index in range(1, 6)]),
        Ready(truncate_from=3, entries=[entry(3, term=2)]),
    )
    assert [(one.index, one.term) for one in entries_of(found)] == [(1, 1), (2, 1), (3, 2)]


def test_a_compacted_log_begins_where_it_was_compacted_to(restart):
    _, found = restart(
        Ready(entries=[entry(index, term=4) for index in range(1, 6)]),
        Ready(apply=[entry(index, term=4) for index in range(1, 4)], compact_to=3, compact_term=4),
    )
    assert (found.log.base_index, found.log.base_term, found.log.last_index) == (3, 4, 5)
    assert found.applied == 3


def test_what_was_applied_is_in_the_replica_and_its_requests_are_in_the_log(restart):
    applied = [entry(1, req_id="first"), entry(2, value=b"second"), entry(3, key="b", req_id="third")]
    replica, found = restart(Ready(entries=applied, apply=applied))
    assert (replica.get("c", "key"), replica.get("c", "b")) == (b"second", b"value")
    assert found.applied == 3
    assert found.requests == []
    assert [one.req_id for one in entries_of(found)] == ["first", "", "third"]


def test_of_a_large_entry_that_the_log_drops_the_request_is_kept_and_what_it_did_is_not_parsed(
    restart, monkeypatch
):
    large = [entry(index, value=bytes(LARGE_BYTES), req_id=str(index)) for index in (1, 2)]
    sizes = []
    encoded = storage._without_effects
    monkeypatch.setattr(
        storage, "_without_effects", lambda raw: sizes.append(len(encoded(raw))) or encoded(raw)
    )
    _, found = restart(Ready(entries=large, apply=large), Ready(compact_to=1, compact_term=1))
    assert found.requests == [("1", Recorded(1, large[0].outcome))]
    assert len(sizes) == 1 and sizes[0] < 100


def test_requests_that_the_log_drops_are_kept_apart_down_to_the_floor(restart):
    applied = [entry(index, req_id=str(index)) for index in range(1, 6)]
    _, found = restart(
        Ready(entries=applied, apply=applied),
        Ready(compact_to=2, compact_term=1),
        Ready(compact_to=4, compact_term=1),
        floor=1,
    )
    outcome = applied[0].outcome
    assert found.requests == [(str(index), Recorded(index, outcome)) for index in (2, 3, 4)]
    assert [one.req_id for one in entries_of(found)] == ["5"]
    assert found.requests_floor == 1


def test_entries_that_may_wait_are_stored_with_what_comes_next_and_before_it(restart):
    waiting = Ready(may_wait=True, entries=[entry(2), entry(3)])
    _, found = restart(Ready(entries=[entry(1)], hard_state=HARD), waiting)
    assert found.log.last_index == 1
    _, found = restart(waiting, Ready(truncate_from=3, entries=[entry(3, term=2)]))
    assert [(one.index, one.term) for one in entries_of(found)] == [(1, 1), (2, 1), (3, 2)]


def test_entries_that_waited_are_stored_before_anything_that_counts_on_them_leaves(restart):
    _, found = restart(Ready(may_wait=True, entries=[entry(1)]), Ready(may_wait=True), Ready())
    assert found.log.last_index == 1


def test_entries_that_waited_are_gone_where_the_log_begins_anew(restart):
    _, found = restart(Ready(may_wait=True, entries=[entry(1)]), Ready(reset_log=(9, 2), hard_state=HARD))
    assert (found.log.base_index, found.log.last_index) == (9, 9)


def test_nothing_of_a_batch_that_failed_is_stored(open_replica, rng, monkeypatch):
    replica = open_replica()
    storage = Storage(replica)
    storage.write(Ready(entries=[entry(1)]), HARD, 0)
    apply = effects.apply

    def fails_at_the_second(transaction, one):
        if one.index == 2:
            raise ReplicaFull("no room")
        return apply(transaction, one)

    monkeypatch.setattr(effects, "apply", fails_at_the_second)
    later = HardState("identity", 8)
    with pytest.raises(ReplicaFull):
        storage.write(Ready(entries=[entry(2)], apply=[entry(1), entry(2)], hard_state=later), later, 0)
    replica = open_replica()
    found = load(replica, rng)
    assert (found.log.last_index, found.applied, found.hard) == (1, 0, HARD)
    assert replica.get("c", "key") is None


def test_an_emptied_replica_keeps_its_identity_and_nothing_else(restart):
    applied = [entry(1, req_id="a")]
    replica, found = restart(
        Ready(entries=applied, apply=applied),
        Ready(reset_log=(0, 0), hard_state=HARD),
    )
    assert replica.get("c", "key") is None
    assert (found.log.last_index, found.applied, found.requests, found.hard) == (0, 0, [], HARD)


def installing(position, reached, *, whole=False):
    return replace(HARD, installing=Installing(position, reached, whole))


def item(key, version, **more):
    return pb.SnapshotItem(cache_name="c", key=key, value=key, version=version, **more)


def test_a_replica_that_came_in_parts_is_found_at_its_place_with_its_table_of_requests(open_replica, rng):
    replica = open_replica()
    storage = Storage(replica)
    old = [entry(1, key="old", req_id="old")]
    storage.write(Ready(entries=old, apply=old), HARD, 0)
    hard = installing(b"", 40)
    storage.write(Ready(reset_log=(40, 6), hard_state=hard), hard, 0)
    now_ms = boottime_ns() // 1_000_000
    middle = place_of("c", b"long")
    first = [
        item(b"gone", 12, ttl_ms=0),
        item(b"lives", 11, ttl_ms=HOUR_MS),
        item(b"long", 13, ttl_ms=2**64 - 1),
    ]
    hard = installing(middle, 41)
    storage.write(Ready(hard_state=hard), hard, 0, Arrived(Part(b"", middle, 41), first, [], now_ms))
    assert load(open_replica(), rng).hard == hard
    storage = Storage(replica := open_replica())
    hard = installing(REQUESTS, 41)
    part = Part(middle, REQUESTS, 41)
    storage.write(Ready(hard_state=hard), hard, 0, Arrived(part, [item(b"stays", 10)], [], now_ms))
    hard = installing(REQUESTS + b"9", 41, whole=True)
    requests = [("forgotten", Recorded(5, b"")), ("new", Recorded(39, b"outcome"))]
    # The leader's table reached further back when the part was read than this node's does by now.
    arrived = Arrived(Part(REQUESTS, REQUESTS + b"9", 41, last=True, floor=3), [], requests, now_ms)
    assert storage.requests_with(arrived) == requests
    storage.write(Ready(hard_state=hard), hard, 5, arrived)
    last = entry(41, 6, key="added")
    storage.write(Ready(entries=[last], apply=[last], hard_state=replace(HARD, installing=None)), HARD, 5)
    replica = open_replica()
    found = load(replica, rng)
    assert replica.get_many("c", ["old", "stays", "lives", "gone", "long", "added"]) == {
        "stays": b"stays",
        "lives": b"lives",
        "long": b"long",
        "added": b"value",
    }
    assert replica.item("c", "lives").expires_at == (now_ms + HOUR_MS) * 1_000_000
    assert (found.applied, found.log.base_index, found.log.base_term) == (41, 40, 6)
    assert (found.requests, found.requests_floor) == ([("new", Recorded(39, b"outcome"))], 5)
    with replica.snapshot() as reading:
        assert applied_place(reading.journal) == (41, 6)


def test_the_log_changes_only_what_an_incomplete_replica_has(open_replica):
    replica = open_replica()
    hard = installing(place_of("c", b"m"), 9)
    effects = [
        pb.Effect(set=pb.SetEffect(cache_name="c", entry="a", value=b"1")),
        pb.Effect(set=pb.SetEffect(cache_name="c", entry="z", value=b"1")),
        pb.Effect(set=pb.SetEffect(cache_name="d", entry="a", value=b"1")),
        pb.Effect(set=pb.SetEffect(cache_name="b", entry="z", value=b"1")),
        pb.Effect(touch=pb.TouchEffect(cache_name="c", entry="z")),
        pb.Effect(delete=pb.DeleteEffect(cache_name="c", entry="z")),
        pb.Effect(remove_keys=pb.RemoveKeys(cache_name="c", keys=[b"k", b"z"])),
    ]
    one = Entry(5, 1, pb.Effects(effects=effects).SerializeToString())
    Storage(replica).write(Ready(entries=[one], apply=[one], hard_state=hard), hard, 0)
    present = [(cache, key) for cache in "bcd" for key in "az" if replica.present(cache, key)]
    assert present == [("b", "z"), ("c", "a")]


def test_a_replica_from_before_the_boot_is_void_and_its_node_is_fresh(open_replica, rng):
    applied = [entry(1, req_id="a")]
    storage = Storage(open_replica(boot=b"b" * 16))
    storage.write(Ready(entries=applied, apply=applied, hard_state=HARD), HARD, 0)
    replica = open_replica(boot=b"c" * 16)
    found = load(replica, rng)
    assert found.hard.fresh
    assert (found.log.last_index, found.applied, found.requests) == (0, 0, [])
    assert replica.get("c", "key") is None


@pytest.fixture
def unreadable_once(monkeypatch):
    read = storage._load

    def broken_once(*args):
        monkeypatch.setattr(storage, "_load", read)
        raise ReplicaBroken("noise")

    def unreadable():
        monkeypatch.setattr(storage, "_load", broken_once)

    return unreadable


def test_a_node_whose_memory_is_damaged_begins_as_a_fresh_one(replica, rng, unreadable_once, caplog):
    first = load(replica, rng).hard
    with (replica.directory / FILE_NAME).open("r+b") as damaged:
        damaged.seek(2 * 4096)
        damaged.write(bytes(4096) * 4)
    unreadable_once()
    found = load(replica, rng)
    assert found.hard.fresh
    assert found.hard.incarnation != first.incarnation
    assert "starting empty" in caplog.text
    with replica.write() as transaction:
        transaction.journal.put_meta("k", b"v")


def test_a_node_that_cannot_read_a_file_that_is_whole_keeps_it(replica, rng, unreadable_once):
    first = load(replica, rng).hard
    Storage(replica).write(Ready(hard_state=first), first, 0)
    unreadable_once()
    with pytest.raises(ReplicaError, match=r"noise; the file is whole"):
        load(replica, rng)
    assert load(replica, rng).hard == first


def test_an_entry_that_is_older_than_this_host_s_uptime_is_stored(restart):
    log = [Entry(1, 5, born_ms=-HOUR_MS)]
    _, found = restart(Ready(entries=log))
    assert entries_of(found) == log


def test_what_is_large_is_stored_in_pieces_and_a_piece_is_found_in_its_order(restart):
    value = bytes(PIECE_BYTES // 2)
    log = [entry(index, key=f"k{index}", value=value, req_id=f"r{index}") for index in range(1, 8)]
    replica, found = restart(
        Ready(entries=log, apply=log[:6], compact_to=2, compact_term=1, hard_state=HARD), floor=1
    )
    assert (found.hard, found.applied, found.log.base_index) == (HARD, 6, 2)
    assert entries_of(found) == log[2:]
    assert [req_id for req_id, _ in found.requests] == ["r2"]
    assert [replica.get("c", f"k{index}") is not None for index in range(1, 8)] == [True] * 6 + [False]


def test_a_piece_that_is_not_stored_leaves_those_before_it(open_replica, rng):
    stored = []

    def store(write, size):
        if len(stored) == 4:
            raise ReplicaError("no more")
        write()
        stored.append(write)

    log = [entry(index, key=f"k{index}", value=bytes(PIECE_BYTES)) for index in range(1, 4)]
    with pytest.raises(ReplicaError, match="no more"):
        Storage(open_replica(), store).write(Ready(entries=log, apply=log, hard_state=HARD), HARD, 0)
    found = load(open_replica(), rng)
    assert found.hard == HARD
    assert entries_of(found) == log
    assert found.applied == 0


RECORDS = {
    "a state that is no JSON": ("hard", b"{"),
    "a state of another form": ("hard", b"[1]"),
    "a state that lacks what it must have": ("hard", b"{}"),
    "a place that is too short": ("base", b"1"),
    "more that is applied than there is": ("applied", PLACE.pack(99, 1)),
    "an entry that is none": (1, b"\0" * 8 + b"\xff"),
    "an entry without its birth": (1, b""),
    "an entry in the place of another one": (1, b"\0" * 8 + pb.LogEntry(index=5).SerializeToString()),
    "a hole in the log": (9, b"\0" * 8 + pb.LogEntry(index=9).SerializeToString()),
    "hosts that are no list": ("hosts", b"7"),
    "hosts in no encoding": ("hosts", b"\xff\xfe\0"),
}


@pytest.mark.parametrize("name", RECORDS)
def test_what_this_release_cannot_read_is_forgotten_as_a_whole(restart, rng, caplog, name):
    replica, found = restart(Ready(entries=[entry(1), entry(2)], apply=[entry(1)], hard_state=HARD))
    assert not found.hard.fresh
    key, value = RECORDS[name]
    with replica.write() as transaction:
        if isinstance(key, str):
            transaction.journal.put_meta(key, value)
        else:
            transaction.journal.put_entries([(key, value)])
    found = load(replica, rng)
    assert found.hard.fresh
    assert (found.applied, len(found.log), replica.usage("c").entries) == (0, 0, 0)
    assert "begins with nothing" in caplog.text
    assert load(replica, rng).hard.fresh
