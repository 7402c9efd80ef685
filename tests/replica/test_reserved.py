"""Files of which every page is allocated before it is mapped, so that LMDB may write to the map."""

from __future__ import annotations

import errno
import os
import random
import signal
import threading
from pathlib import Path

import pytest

from django_hacache.changes.vocabulary import Insert
from django_hacache.exceptions import ReplicaFull
from django_hacache.replica import reserved
from django_hacache.replica.environment import Environment
from django_hacache.replica.eviction import Limits
from django_hacache.replica.pair import FILE_NAME
from django_hacache.replica.replica import Replica
from django_hacache.replica.transaction import WriteTransaction
from django_hacache.worker.standalone_store import StandaloneStore
from tests.replica.writing import MAP_SIZE, store
from tests.system_call import failing

MEBIBYTE = 1 << 20
PLENTY = Limits(size_limit=256 * MEBIBYTE, max_entries=None, cull_frequency=3)


def open_replica(directory, **options):
    return Replica.open(directory, **{"writable": True, "map_size": MAP_SIZE, "reserves": True} | options)


def mapped(directory):
    """How this process has the data file mapped: the permissions, and so many bytes."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(f"{directory}/{FILE_NAME}"):
            span, permissions, *_ = line.split()
            first, last = (int(part, 16) for part in span.split("-"))
            return permissions, last - first
    return None


def put(replica, key, value=b"value"):
    """As a worker does, without anything that makes room."""
    replica.transact(StandaloneStore, Insert(key, value, None).carry_out, "default")


def test_the_map_may_be_written_to_is_as_long_as_the_file_and_all_of_that_is_allocated(directory):
    replica = open_replica(directory)
    for number in range(300):
        put(replica, f"k{number}", bytes(10_000 + number))
        found = (directory / FILE_NAME).stat()
        assert mapped(directory) == ("rw-s", found.st_size)
        assert found.st_blocks * 512 >= found.st_size
    assert replica.get("default", "k0") == bytes(10_000)
    replica.close()


@pytest.mark.parametrize("reserves", [True, False])
def test_all_that_open_a_file_agree_on_its_kind_whatever_they_would_make(directory, process, reserves):
    replica = open_replica(directory, reserves=reserves)
    put(replica, "k")
    other = process(f"""
replica = Replica.open(directory, writable=True, map_size={MAP_SIZE}, reserves={not reserves})
put(replica, "default", "other", b"v")
say([line.split()[1] for line in open("/proc/self/maps") if line.rstrip().endswith("/{FILE_NAME}")])
""")
    permissions = "rw-s" if reserves else "r--s"
    assert other.stdout.readline() == f"{[permissions]}\n"
    assert mapped(directory)[0] == permissions
    assert replica.get("default", "other") == b"v"
    replica.close()


def test_who_only_reads_cannot_write_to_the_map(directory, process):
    replica = open_replica(directory)
    put(replica, "k")
    other = process(f"""
replica = Replica.open(directory, writable=False, map_size={MAP_SIZE})
say(replica.get("default", "k"))
say([line.split()[1] for line in open("/proc/self/maps") if line.rstrip().endswith("/{FILE_NAME}")])
""")
    assert other.stdout.readline() == "b'value'\n"
    assert other.stdout.readline() == "['r--s']\n"
    replica.close()


@pytest.mark.parametrize("file_system", ["btrfs", "nfs", "overlay", "xfs", None])
def test_a_file_system_that_may_break_its_word_gets_a_file_as_ever(directory, monkeypatch, file_system):
    monkeypatch.setattr(reserved, "file_system_of", lambda path: file_system)
    replica = open_replica(directory)
    put(replica, "k")
    assert mapped(directory)[0] == "r--s"
    replica.close()


def test_a_file_system_that_allocates_nothing_gets_a_file_as_ever(directory, monkeypatch):
    monkeypatch.setattr(reserved, "allocate", failing(OSError(errno.EOPNOTSUPP, "not supported")))
    replica = open_replica(directory)
    put(replica, "k")
    assert mapped(directory)[0] == "r--s"
    replica.close()


def test_a_node_replaces_such_a_file_and_those_who_had_it_follow(directory):
    standalone = open_replica(directory)
    put(standalone, "k")
    node = open_replica(directory.parent / "other", reserves=False, keeps_journal=True)
    node.close()
    assert standalone.get("default", "k") == b"value"
    standalone.close()
    node = open_replica(directory, reserves=False, keeps_journal=True)
    assert node.get("default", "k") is None
    assert mapped(directory)[0] == "r--s"
    node.close()


def test_a_full_file_system_is_an_error_and_what_is_there_can_be_read_and_removed(small_tmpfs):
    replica = open_replica(small_tmpfs)
    with pytest.raises(ReplicaFull, match=f"{small_tmpfs} is full"):
        for number in range(1000):
            put(replica, f"k{number}", bytes(50_000))
    assert replica.get("default", "k0") == bytes(50_000)
    replica.transact(WriteTransaction, WriteTransaction.clear, "default")
    put(replica, "after")
    assert replica.get("default", "after") == b"value"
    replica.close()


@pytest.mark.parametrize("size", [100, 3000, 50_000, 500_000])
def test_a_standalone_set_never_fails_because_the_file_system_is_full(small_tmpfs, size):
    replica = open_replica(small_tmpfs)
    for number in range(10 * MEBIBYTE // (size + 300)):
        store(replica, f"k{number}", bytes(size), PLENTY)
        assert replica.get("default", f"k{number}") == bytes(size)
    replica.close()


def test_a_full_map_is_an_error_that_names_the_directory_and_leaves_the_replica_usable(directory):
    replica = open_replica(directory, map_size=2 * MEBIBYTE)
    put(replica, "small", b"v")
    with pytest.raises(ReplicaFull, match=f"{directory} has reached its map size"):
        put(replica, "large", b"x" * 3 * MEBIBYTE)
    put(replica, "after", b"w")
    assert (replica.get("default", "small"), replica.get("default", "after")) == (b"v", b"w")
    replica.close()


def test_a_file_that_was_copied_with_holes_gets_its_pages_back_before_it_is_mapped(directory):
    replica = open_replica(directory)
    put(replica, "k", bytes(300_000))
    replica.close()
    path = directory / FILE_NAME
    with path.open("r+b") as file:
        length = path.stat().st_size
        whole = file.read().rstrip(b"\0")
        file.truncate(0)
        file.truncate(length)
        os.pwrite(file.fileno(), whole, 0)
    assert path.stat().st_blocks * 512 < length
    replica = open_replica(directory)
    assert path.stat().st_blocks * 512 >= length
    assert replica.get("default", "k") == bytes(300_000)
    replica.close()


def test_others_follow_when_the_file_becomes_longer_readers_and_writers(directory, process):
    replica = open_replica(directory)
    put(replica, "k")
    other = process(f"""
replica = Replica.open(directory, writable=True, map_size={MAP_SIZE})
say(replica.get("default", "k"))
for number in range(10):
    heard()
    say(len(replica.get("default", f"k{{number}}")))
    put(replica, "default", f"mine{{number}}", b"v")
""")
    assert other.stdout.readline() == "b'value'\n"
    for number in range(10):
        put(replica, f"k{number}", bytes(800_000))
        other.stdin.write("look\n")
        other.stdin.flush()
        assert other.stdout.readline() == "800000\n"
    assert other.wait() == 0
    assert replica.get("default", "mine9") == b"v"
    replica.close()


LENGTHENS = f"""
from django_hacache.changes.vocabulary import Insert
from django_hacache.worker.standalone_store import StandaloneStore
replica = Replica.open(directory, writable=True, map_size={MAP_SIZE}, reserves=True)
say("open")
for number in range(10):
    heard()
    for piece in range(10):
        change = Insert(f"{{number}}.{{piece}}", bytes(300_000), None)
        replica.transact(StandaloneStore, change.carry_out, "default")
    say("longer")
"""


def test_a_file_that_becomes_longer_again_and_again_while_it_is_opened_is_followed(
    directory, process, monkeypatch
):
    other = process(LENGTHENS)
    assert other.stdout.readline() == "open\n"
    look, recover, lengthened = Environment.file_bytes, Environment.recover, []

    def lengthen():
        if len(lengthened) < 3:
            other.stdin.write("go on\n")
            other.stdin.flush()
            lengthened.append(other.stdout.readline())

    def look_and_lengthen(environment):
        taken = look(environment)
        lengthen()
        return taken

    def recover_and_lengthen(environment, error):
        recover(environment, error)
        lengthen()

    monkeypatch.setattr(Environment, "file_bytes", look_and_lengthen)
    monkeypatch.setattr(Environment, "recover", recover_and_lengthen)
    replica = open_replica(directory)
    assert lengthened == ["longer\n"] * 3
    assert replica.get("default", "2.9") == bytes(300_000)
    replica.close()


def test_threads_read_and_write_while_the_file_becomes_longer(directory):
    replica = open_replica(directory)
    put(replica, "k", b"v" * 3000)
    failures, stop = [], threading.Event()

    def read():
        try:
            while not stop.wait(0.0005):  # or the writers would hardly have their turns
                assert replica.get("default", "k") == b"v" * 3000
                assert replica.get_many("default", ["k", "no"]) == {"k": b"v" * 3000}
        except BaseException as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    def write(name):
        try:
            for number in range(20):
                store(replica, f"{name}{number}", bytes(300_000), PLENTY)
        except BaseException as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    writers = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join(60)
    stop.set()
    for thread in readers:
        thread.join(60)
    assert not any(thread.is_alive() for thread in (*readers, *writers))
    assert failures == []
    assert replica.usage("default").entries == 1 + 3 * 20
    replica.close()


WRITER = f"""
import random
from itertools import count
from types import SimpleNamespace
from django_hacache.changes.vocabulary import Insert, Remove, Touch
from django_hacache.conf import AckLevel
from django_hacache.exceptions import ReplicaFull
from django_hacache.replica.eviction import Limits
from django_hacache.values.signing import PLAIN
from django_hacache.worker.standalone_writer import StandaloneWriter
replica = Replica.open(directory, writable=True, map_size={MAP_SIZE}, reserves=True)
writer = StandaloneWriter("default", Limits({MAP_SIZE}, None, 3), SimpleNamespace(reader=replica), PLAIN)
rng = random.Random(os.getpid())
say("begins")
for turn in count():
    if turn % 20 == 19:
        say("goes on")
    number = rng.randrange(100)
    change = rng.choice([
        Insert(f"k{{number}}", bytes([number]) * rng.choice([1, 500, 2040, 4000, 9000, 100_000, 600_000]), None),
        Touch(f"k{{number}}", None),
        Remove(f"k{{number}}"),
    ])
    try:
        writer.perform(change, ack=AckLevel.QUORUM, deadline=0)
    except ReplicaFull:
        pass
    number = rng.randrange(100)
    value = bytes(replica.get("default", f"k{{number}}") or b"")
    assert value == bytes([number]) * len(value)
"""


def test_no_writer_dies_of_a_full_file_system_nor_leaves_damage_when_it_is_killed(small_tmpfs, process):
    """Others eat the space and give it back; the writers are killed at any moment, and new ones come."""
    small_tmpfs.mkdir(mode=0o700)
    rng = random.Random(1)
    ballast = small_tmpfs.parent / "ballast"
    writers = [_writing(process, small_tmpfs) for _ in range(2)]
    for _ in range(15):
        with ballast.open("wb", buffering=0) as file:
            try:
                for _ in range(rng.randrange(40)):
                    file.write(bytes(100_000))
            except OSError as error:
                assert error.errno == errno.ENOSPC
        assert [writer.stdout.readline() for writer in writers] == ["goes on\n"] * 2
        ballast.unlink()
        writer = writers.pop(0)
        writer.kill()
        assert writer.wait() == -signal.SIGKILL
        writers.append(_writing(process, small_tmpfs))
    for writer in writers:
        assert writer.poll() is None
        writer.kill()
        writer.wait()
    replica = open_replica(small_tmpfs)
    for number in range(100):
        value = bytes(replica.get("default", f"k{number}") or b"")
        assert value == bytes([number]) * len(value)
    assert [path.name for path in small_tmpfs.glob("*broken*")] == []
    replica.close()


def _writing(process, directory):
    writer = process(WRITER.replace("directory, writable", f"Path({str(directory)!r}), writable"))
    assert writer.stdout.readline() == "begins\n"
    return writer
