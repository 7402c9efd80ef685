"""Processes that share a replica: forked, frozen or killed wherever they were."""

from __future__ import annotations

import signal
import threading

import pytest

from django_hacache.exceptions import ReplicaError
from django_hacache.replica.replica import READER_CHECK_EVERY
from tests.replica.writing import MAP_SIZE, open_replica, put


def test_a_forked_child_opens_its_own_and_the_parent_stays_healthy(directory, replica, process):
    parent = process(f"""
replica = Replica.open(directory, writable=True, map_size={MAP_SIZE})
put(replica, "default", "k", b"parent")
for number in range(50):
    assert replica.get("default", "k") == b"parent"
    child = os.fork()
    if child == 0:
        replica.abandon()
        replica = Replica.open(directory, writable=True, map_size={MAP_SIZE})
        assert replica.get("default", "k") == b"parent"
        put(replica, "default", f"child{{number}}", b"v")
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0, number
    assert replica.get("default", f"child{{number}}") == b"v"
say("healthy")
""")
    assert parent.stdout.readline() == "healthy\n"
    assert len(replica.get_many("default", [f"child{number}" for number in range(50)])) == 50


def test_a_child_of_a_child_opens_its_own(directory, process):
    parent = process(f"""
replica = Replica.open(directory, writable=True, map_size={MAP_SIZE})
put(replica, "default", "k", b"v")
for generation in range(3):
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0
        assert replica.get("default", "k") == b"v"
        say(generation)
        os._exit(0)
    replica.abandon()
    replica = Replica.open(directory, writable=True, map_size={MAP_SIZE})
    assert replica.get("default", "k") == b"v"
""")
    assert [parent.stdout.readline() for _ in range(3)] == ["2\n", "1\n", "0\n"]


def test_a_writer_killed_in_its_transaction_leaves_the_replica_usable(replica, process):
    for number in range(5):
        writer = process(f"""
replica = Replica.open(directory, writable=True, map_size={MAP_SIZE})
with replica.write() as transaction:
    transaction.set("default", "killed{number}", b"v", version=transaction.next_version(), expires_at=0)
    say("inside")
    heard()
""")
        assert writer.stdout.readline() == "inside\n"
        writer.kill()
        writer.wait()
        put(replica, f"k{number}")
        assert replica.get("default", f"k{number}") == b"value"
        assert replica.get("default", f"killed{number}") is None


def test_a_writer_killed_anywhere_in_a_loop_leaves_the_replica_usable(replica, process):
    for number in range(5):
        writer = process(f"""
replica = Replica.open(directory, writable=True, map_size={MAP_SIZE})
say("starts")
while True:
    put(replica, "default", "loop", b"x" * 3000)
""")
        assert writer.stdout.readline() == "starts\n"
        put(replica, "mine", b"%d" % number)
        writer.kill()
        writer.wait()
        assert replica.get("default", "mine") == b"%d" % number
        assert replica.get("default", "loop") in {b"x" * 3000, None}
        put(replica, "after")


def fill_reader_table(process):
    reader = process("""
raw, held = as_lmdb_has_it(), []
try:
    while True:
        held.append(raw.begin())
except Exception as error:
    say(type(error).__name__)
heard()
""")
    assert reader.stdout.readline() == "ReadersFullError\n"
    return reader


def test_slots_of_killed_readers_are_freed_when_the_table_is_full(replica, process):
    put(replica, "k")
    reader = fill_reader_table(process)
    with replica.snapshot():
        with pytest.raises(ReplicaError, match="READERS_FULL"), replica.snapshot():
            pass
        reader.kill()
        reader.wait()
        with replica.snapshot():
            assert replica.get("default", "k") == b"value"
    looking = process("say(len(as_lmdb_has_it().readers().splitlines()))")
    assert int(looking.stdout.readline()) < 10


def test_slots_of_killed_readers_are_freed_by_the_writers_for_processes_that_open_later(
    replica, process, later
):
    put(replica, "k")
    reader = fill_reader_table(process)
    reader.kill()
    reader.wait()
    for number in range(READER_CHECK_EVERY):
        later()
        put(replica, f"k{number}")
    late = process(f"""
replica = Replica.open(directory, writable=False, map_size={MAP_SIZE})
say(replica.get("default", "k"))
""")
    assert late.stdout.readline() == "b'value'\n"


def test_a_dead_reader_does_not_pin_pages_for_ever(replica, process, later):
    put(replica, "k", b"x" * 100_000)
    reader = process(f"""
replica = Replica.open(directory, writable=False, map_size={MAP_SIZE})
with replica.snapshot():
    say("reading")
    heard()
""")
    assert reader.stdout.readline() == "reading\n"
    reader.kill()
    reader.wait()
    for _ in range(3 * MAP_SIZE // 100_000):
        later(0.1)
        put(replica, "k", b"y" * 100_000)
    assert (replica.directory / "replica.lmdb").stat().st_size < MAP_SIZE // 4


def test_threads_share_one_replica(replica):
    failures = []

    def work(name):
        try:
            for number in range(100):
                cache = f"cache{number % 10}"
                put(replica, f"{name}-{number}", cache=cache)
                assert replica.get(cache, f"{name}-{number}") == b"value"
                assert replica.get_many(cache, [f"{name}-{number}"])
        except Exception as error:  # noqa: BLE001, the assertion below shows it
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sum(replica.usage(f"cache{number}").entries for number in range(10)) == 600


@pytest.mark.parametrize("writable", [True, False])
def test_a_cache_that_another_process_creates_is_picked_up(replica, process, writable):
    reader = process(f"""
replica = Replica.open(directory, writable={writable}, map_size={MAP_SIZE})
say(replica.get("new", "k"))
say(replica.usage("new").entries)
heard()
say(replica.get("new", "k"))
say(replica.usage("new").entries)
""")
    assert [reader.stdout.readline() for _ in range(2)] == ["None\n", "0\n"]
    put(replica, "k", b"v", cache="new")
    reader.stdin.write("go\n")
    reader.stdin.flush()
    assert [reader.stdout.readline() for _ in range(2)] == ["b'v'\n", "1\n"]


def test_a_frozen_writer_does_not_stop_readers(replica, process):
    put(replica, "k")
    writer = process(f"""
replica = Replica.open(directory, writable=True, map_size={MAP_SIZE})
with replica.write() as transaction:
    transaction.clear("default")
    say("inside")
    heard()
""")
    assert writer.stdout.readline() == "inside\n"
    writer.send_signal(signal.SIGSTOP)
    assert replica.get("default", "k") == b"value"
    assert replica.item("default", "k").value == b"value"


def test_an_open_that_failed_can_be_tried_again_in_the_same_process(directory, process):
    child = process(f"""
for _ in range(2):
    try:
        Replica.open(directory, writable=False, map_size={MAP_SIZE})
    except ReplicaError:
        say("refused")
    heard()
say(Replica.open(directory, writable=False, map_size={MAP_SIZE}).get("default", "k"))
""")
    assert child.stdout.readline() == "refused\n"
    replica = open_replica(directory, boot=b"1" * 16)
    put(replica, "k")
    child.stdin.write("go\n")
    child.stdin.flush()
    assert child.stdout.readline() == "refused\n"
    replica.close()
    replica = open_replica(directory)
    put(replica, "k", b"new")
    child.stdin.write("go\n")
    child.stdin.flush()
    assert child.stdout.readline() == "b'new'\n"
    replica.close()
