"""How much must stay free of a file, whatever bounds it."""

from __future__ import annotations

from django_hacache.replica.room import HEADROOM_MAX, HEADROOM_MIN, Room
from tests.replica.writing import put

MIB = 1 << 20


def test_the_map_bounds_a_file_as_the_file_system_does():
    assert Room(map=100, file=60, used=50, growth=1000).free == 10 + 40
    assert Room(map=1000, file=60, used=50, growth=40).free == 10 + 40


def test_a_file_that_is_longer_than_its_map_was_meant_to_be_does_not_grow():
    assert Room(map=50, file=60, used=60, growth=1000).free == 0


def test_the_headroom_is_a_share_of_what_the_file_may_become_within_bounds():
    assert Room(map=64 * MIB, file=0, used=0, growth=64 * MIB).headroom == 8 * MIB
    assert Room(map=MIB, file=0, used=0, growth=MIB).headroom == HEADROOM_MIN
    assert Room(map=1 << 40, file=0, used=0, growth=1 << 40).headroom == HEADROOM_MAX


def test_what_lacks_is_the_headroom_and_what_somebody_waits_for():
    room = Room(map=64 * MIB, file=64 * MIB, used=60 * MIB, growth=0)
    assert room.lacking() == 4 * MIB
    assert room.lacking(10 * MIB) == 14 * MIB
    assert Room(map=64 * MIB, file=0, used=0, growth=64 * MIB).lacking(MIB) == 0


def test_a_replica_tells_its_room(replica):
    put(replica, "k", bytes(MIB))
    put(replica, "k", b"", cache="other")
    with replica.snapshot() as reading:
        room = reading.room()
        used = sum(reading.usage(cache).bytes for cache in ("default", "other"))
    assert used < room.used <= room.file <= room.map
    assert room.file == (replica.directory / "replica.lmdb").stat().st_size
