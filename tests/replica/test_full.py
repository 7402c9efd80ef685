"""No room in the map, on the file system or in the address space; and a file that grows."""

from __future__ import annotations

import threading

import pytest

from django_hacache.exceptions import ReplicaFull
from django_hacache.replica.eviction import Limits
from django_hacache.replica.pair import FILE_NAME
from tests.replica.writing import MAP_SIZE, open_replica, put, store

MEBIBYTE = 1024 * 1024


def test_a_full_map_is_an_error_that_names_the_directory_and_leaves_the_replica_usable(directory):
    replica = open_replica(directory, map_size=MEBIBYTE)
    put(replica, "small", b"v")
    with pytest.raises(ReplicaFull, match=str(directory)):
        put(replica, "large", b"x" * 2 * MEBIBYTE)
    assert replica.get("default", "small") == b"v"
    put(replica, "after", b"w")
    assert replica.get("default", "after") == b"w"
    replica.close()


def test_a_full_file_system_is_an_error_and_not_a_crash(small_tmpfs):
    replica = open_replica(small_tmpfs)
    with pytest.raises(ReplicaFull, match=f"{small_tmpfs} is full"):
        for number in range(1000):
            put(replica, f"k{number}", bytes(50_000))
    assert replica.get("default", "k0") == bytes(50_000)
    with replica.write() as transaction:
        transaction.clear("default")
    put(replica, "after")
    assert replica.get("default", "after") == b"value"
    replica.close()


@pytest.mark.parametrize("size", [100, 3000, 50_000, 500_000])
def test_a_standalone_set_never_fails_because_the_file_system_is_full(small_tmpfs, size):
    replica = open_replica(small_tmpfs)
    limits = Limits(size_limit=256 * MEBIBYTE, max_entries=None, cull_frequency=3)
    for number in range(10 * MEBIBYTE // (size + 300)):
        store(replica, f"k{number}", bytes(size), limits)
        assert replica.get("default", f"k{number}") == bytes(size)
    replica.close()


def test_a_smaller_map_follows_the_growth_by_another_process(directory, process):
    replica = open_replica(directory, map_size=MEBIBYTE)
    put(replica, "k")
    writer = process(f"""
replica = Replica.open(directory, writable=True, map_size={MAP_SIZE})
for number in range(8):
    put(replica, "default", f"large{{number}}", bytes(1024 * 1024))
say("done")
""")
    failures = []
    stop = threading.Event()

    def read():
        try:
            while not stop.is_set():
                assert replica.get("default", "k") == b"value"
                assert replica.get_many("default", ["k"]) == {"k": b"value"}
        except Exception as error:  # noqa: BLE001, the assertion below shows it
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert writer.stdout.readline() == "done\n"
    assert bytes(replica.get("default", "large7")) == bytes(MEBIBYTE)
    put(replica, "k2")
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    replica.close()


@pytest.mark.parametrize("writable", [True, False])
def test_a_process_without_address_space_for_the_map_is_told_how_much_it_takes(directory, process, writable):
    open_replica(directory).close()
    limited = process(f"""
import resource
limit = 2 << 30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    Replica.open(directory, writable={writable}, map_size=(4 << 30))
except OSError as error:
    say(error)
""")
    told = limited.stdout.readline()
    assert f"{directory / FILE_NAME} cannot be mapped: that takes {4 << 30} bytes of address space" in told
    assert f"This process may have {2 << 30} (RLIMIT_AS, `ulimit -v`)" in told
    assert "SIZE_LIMIT" in told


def test_no_page_that_readers_share_is_a_hole(directory):
    """On a file system that is full, the first touch of it would kill a worker."""
    replica = open_replica(directory)
    found = (directory / f"{FILE_NAME}-lock").stat()
    assert found.st_blocks * 512 >= found.st_size
    replica.close()
