from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import stat
import threading
from pathlib import Path

import lmdb
import pytest

from django_hacache.exceptions import ReplicaBroken, ReplicaError, ReplicaFull
from django_hacache.replica.clock import boot_id, boottime_ns
from django_hacache.replica.environment import Environment
from django_hacache.replica.eviction import Limits
from django_hacache.replica.pair import FILE_NAME, LOCKS_NAME
from django_hacache.replica.replica import Replica
from tests.replica.writing import MAP_SIZE, put, store
from tests.system_call import failing

MEBIBYTE = 1024 * 1024


def open_replica(directory, **options):
    return Replica.open(directory, **{"writable": True, "map_size": MAP_SIZE} | options)


def test_directory_and_files_are_for_this_user_only_whatever_the_umask(directory):
    before = os.umask(0)
    try:
        replica = open_replica(directory)
    finally:
        os.umask(before)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {
        "replica.lmdb": 0o600,
        "replica.lmdb-lock": 0o600,
        "replica.members": 0o600,
    }
    replica.close()


def test_a_directory_that_others_can_read_is_tightened(directory):
    directory.mkdir(mode=0o755)
    open_replica(directory).close()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_directory_that_others_use_is_left_as_it_is(directory):
    """As root LOCATION may be "/" by mistake: closing it would shut everybody out of the machine."""
    directory.mkdir(mode=0o755)
    (directory / "static").mkdir()
    with pytest.raises(
        ReplicaError, match=rf"{directory} is open to other users \(mode 0755\) and not empty"
    ):
        open_replica(directory)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o755
    assert [path.name for path in directory.iterdir()] == ["static"]


@pytest.mark.parametrize("writable", [True, False])
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_directory_that_others_can_write_to_is_refused(directory, mode, writable):
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(ReplicaError, match=f"{directory}.*writable by other"):
        open_replica(directory, writable=writable)


@pytest.mark.parametrize("writable", [True, False])
def test_a_symbolic_link_is_refused(directory, writable):
    target = directory.parent / "target"
    target.mkdir(mode=0o700)
    directory.symlink_to(target)
    with pytest.raises(ReplicaError, match=f"{directory} is a symbolic link"):
        open_replica(directory, writable=writable)


def test_a_file_in_the_directorys_place_is_refused(directory):
    directory.write_text("")
    with pytest.raises(ReplicaError, match=f"{directory} is not a directory"):
        open_replica(directory)


@pytest.mark.parametrize("writable", [True, False])
def test_a_directory_of_somebody_else_is_refused(directory, monkeypatch, writable):
    directory.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(ReplicaError, match=f"{directory} belongs to user"):
        open_replica(directory, writable=writable)


def test_reading_where_nothing_is_names_the_directory(directory):
    with pytest.raises(ReplicaError, match=str(directory)):
        open_replica(directory, writable=False)


def test_a_replica_of_another_layout_is_void_and_leaves_nothing_behind(directory):
    directory.mkdir(mode=0o700)
    old = lmdb.open(str(directory / FILE_NAME), subdir=False, map_size=MAP_SIZE, max_dbs=8)
    with old.begin(write=True) as txn:
        for name in (b"entries:default", b"order:default", b"expiry:default"):
            txn.put(b"k", bytes(16) + b"value", db=old.open_db(name, txn=txn))
        txn.put(b"hard", b"1", db=old.open_db(b"journal.meta", txn=txn))
        txn.put(b"boot_id", boot_id(), db=old.open_db(b"replica.host", txn=txn))
    old.close()
    replica = open_replica(directory)
    assert replica.get("default", "k") is None
    put(replica, "k")
    with replica.snapshot() as picture:
        assert picture.caches() == ["default"]
        assert picture.journal.get_meta("hard") is None
    replica.close()
    with lmdb.open(str(directory / FILE_NAME), subdir=False, readonly=True) as raw, raw.begin() as txn:
        names = set(txn.cursor().iternext(values=False))
    assert names == {
        b"entries:default",
        b"journal.log",
        b"journal.meta",
        b"journal.requests",
        b"replica.host",
    }


def test_a_replica_from_before_a_reboot_is_void_with_its_journal(directory):
    replica = open_replica(directory, boot=b"1" * 16)
    put(replica, "k")
    with replica.write() as transaction:
        transaction.journal.put_meta("term", b"7")
        transaction.journal.put_entries([(1, b"e")])
        transaction.journal.put_request(1, b"r")
    replica.close()
    again = open_replica(directory, boot=b"1" * 16)
    assert again.get("default", "k") == b"value"
    again.close()
    with pytest.raises(ReplicaError, match="before this machine was booted"):
        open_replica(directory, boot=b"2" * 16, writable=False)
    after = open_replica(directory, boot=b"2" * 16)
    assert after.get("default", "k") is None
    with after.snapshot() as picture:
        assert picture.journal.get_meta("term") is None
        assert picture.journal.entries() == picture.journal.requests() == []
    after.close()


def test_processes_that_race_to_empty_a_void_replica_lose_no_write(directory, process):
    replica = open_replica(directory, boot=b"1" * 16)
    put(replica, "old")
    replica.close()
    writers = [
        process(f"""
heard()
replica = Replica.open(directory, writable=True, map_size={MAP_SIZE}, boot=b"2" * 16)
put(replica, "default", "k{number}", b"v")
say("done")
""")
        for number in range(4)
    ]
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    assert [writer.stdout.readline() for writer in writers] == ["done\n"] * 4
    after = open_replica(directory, boot=b"2" * 16)
    assert sorted(after.get_many("default", ["old", "k0", "k1", "k2", "k3"])) == ["k0", "k1", "k2", "k3"]
    after.close()


def test_a_broken_file_is_moved_aside_by_a_writer(directory, caplog):
    directory.mkdir(mode=0o700)
    (directory / "replica.lmdb").write_bytes(b"garbage" * 5000)
    with pytest.raises(ReplicaError, match=r"replica\.lmdb"):
        open_replica(directory, writable=False)
    replica = open_replica(directory)
    put(replica, "k")
    assert replica.get("default", "k") == b"value"
    assert (directory / "replica.lmdb.broken-1").read_bytes() == b"garbage" * 5000
    assert "moved to" in caplog.text
    replica.close()


def noise_in_every_second_page(data):
    rng = random.Random(2)
    pages = [data[at : at + 4096] for at in range(0, len(data), 4096)]
    return b"".join(rng.randbytes(4096) if n > 1 and n % 2 else page for n, page in enumerate(pages))


@pytest.mark.parametrize(
    "damage",
    [noise_in_every_second_page, lambda data: data[: len(data) // 2], lambda data: data[:8192]],
    ids=["noise", "half", "two pages"],
)
def test_a_damaged_file_kills_no_process(directory, process, damage):
    before = open_replica(directory)
    for number in range(500):
        put(before, f"k{number}", b"x" * 1000)
    before.close()
    path = directory / "replica.lmdb"
    damaged = damage(path.read_bytes())
    path.unlink()
    path.write_bytes(damaged)
    path.chmod(0o600)
    reading = process(f"""
from django_hacache.replica.control import ControlPage
ControlPage.create(directory)
reader = LeasedReader(directory, map_size={MAP_SIZE})
say([reader.get("default", f"k{{n}}") for n in range(500)].count(None))
""")
    assert reading.stdout.readline() == "500\n"
    writing = process(f"""
replica = Replica.open(directory, writable=True, map_size={MAP_SIZE})
put(replica, "default", "k", b"new")
say(replica.get("default", "k"))
""")
    assert writing.stdout.readline() == "b'new'\n"
    assert (directory / "replica.lmdb.broken-1").read_bytes() == damaged


def test_a_file_that_grows_while_it_is_opened_is_whole(directory, monkeypatch):
    """Another process writes between the two looks at its length, the first time that somebody looks."""
    open_replica(directory).close()
    look = Environment.file_bytes

    def grow(environment, prefix):
        with environment.begin_write() as txn:
            for number in range(100):
                txn.put(b"%s%d" % (prefix, number), bytes(10_000))

    def look_and_grow(environment):
        monkeypatch.setattr(Environment, "file_bytes", look)
        grow(environment, b"before")
        taken = look(environment)
        grow(environment, b"after")
        return taken

    monkeypatch.setattr(Environment, "file_bytes", look_and_grow)
    replica = open_replica(directory)
    assert [path.name for path in directory.glob("*broken*")] == []
    replica.close()


@pytest.mark.parametrize("writable", [True, False])
def test_a_file_whose_last_pages_are_free_and_were_never_written_is_whole(directory, writable):
    replica = open_replica(directory)
    put(replica, "k")
    for key in ("large", "larger"):
        put(replica, key, bytes(MEBIBYTE))
    with replica.write() as transaction:
        transaction.delete("default", "larger")
    for _ in range(10):
        put(replica, "k2")
    last = replica._environment.file_bytes()
    replica.close()
    os.truncate(directory / FILE_NAME, last - MEBIBYTE // 2)
    again = open_replica(directory, writable=writable)
    assert again.get("default", "k") == b"value"
    assert again.get("default", "large") == bytes(MEBIBYTE)
    assert [path.name for path in directory.glob("*broken*")] == []
    again.close()


def test_an_error_of_a_reader_alone_moves_no_file_that_is_whole(replica, directory):
    put(replica, "k")
    with pytest.raises(ReplicaError, match="the file is whole"):
        replica.set_aside(ReplicaBroken("a reader lost its place"))
    assert replica.get("default", "k") == b"value"
    assert [path.name for path in directory.glob("*broken*")] == []


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENOMEM, errno.EACCES, errno.EINTR])
def test_a_file_that_cannot_be_looked_at_for_a_moment_counts_as_the_same(replica, monkeypatch, error):
    put(replica, "k")
    monkeypatch.setattr(Path, "stat", failing(OSError(error, os.strerror(error))))
    assert not replica.replaced()
    put(replica, "k2")
    assert replica.get("default", "k2") == b"value"


def test_no_page_that_readers_share_is_a_hole(directory):
    """On a file system that is full, the first touch of it would kill a worker."""
    replica = open_replica(directory)
    found = (directory / f"{FILE_NAME}-lock").stat()
    assert found.st_blocks * 512 >= found.st_size
    replica.close()


def test_one_broken_file_is_kept(directory):
    directory.mkdir(mode=0o700)
    for content in (b"first" * 5000, b"second" * 5000):
        (directory / "replica.lmdb").write_bytes(content)
        open_replica(directory).close()
    assert [path.name for path in directory.glob("*broken*")] == ["replica.lmdb.broken-1"]
    assert (directory / "replica.lmdb.broken-1").read_bytes() == b"second" * 5000


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
    reader = process(f"""
replica = Replica.open(directory, writable=False, map_size={MAP_SIZE})
begin = replica._environment.lmdb.begin
held = []
try:
    while True:
        held.append(begin())
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
    assert len(replica._environment.lmdb.readers().splitlines()) < 10


def test_slots_of_killed_readers_are_freed_by_the_writers_for_processes_that_open_later(replica, process):
    put(replica, "k")
    reader = fill_reader_table(process)
    reader.kill()
    reader.wait()
    replica._next_maintenance, replica._maintenances = 0, -1  # the periodic check is due
    put(replica, "k2")
    late = process(f"""
replica = Replica.open(directory, writable=False, map_size={MAP_SIZE})
say(replica.get("default", "k"))
""")
    assert late.stdout.readline() == "b'value'\n"


def test_a_dead_reader_does_not_pin_pages_for_ever(replica, process, monkeypatch):
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
    replica._next_maintenance, replica._maintenances = 0, -1  # the periodic check is due
    for _ in range(3 * MAP_SIZE // 100_000):
        put(replica, "k", b"y" * 100_000)
    assert (replica.directory / "replica.lmdb").stat().st_size < MAP_SIZE // 4


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


def test_a_writer_whose_directory_was_wiped_starts_empty_again(replica, directory):
    put(replica, "k")
    shutil.rmtree(directory)
    replica._next_maintenance = 0
    put(replica, "after")
    assert replica.get("default", "after") == b"value"
    assert replica.get("default", "k") is None
    other = directory / "replica.lmdb"
    assert other.exists()


@pytest.mark.parametrize("first", ["the one that had it open", "another"])
def test_writers_whose_file_alone_was_removed_share_the_next_one(replica, directory, process, first):
    """Its lock file is left: shared with the next file, it would let two at a time write there."""
    put(replica, "k")
    (directory / FILE_NAME).unlink()
    replica._next_maintenance = 0
    if first != "another":
        put(replica, "mine")
    other = process(f"""
replica = Replica.open(directory, writable=True, map_size={MAP_SIZE})
put(replica, "default", "theirs", b"v")
""")
    assert other.wait() == 0
    put(replica, "mine")
    assert replica.get("default", "theirs") == b"v"
    assert replica.get("default", "k") is None
    assert (directory / f"{FILE_NAME}-lock").exists()


@pytest.mark.parametrize("first", ["the one that had it open", "another"])
def test_writers_whose_lock_file_alone_was_removed_share_the_next_pair(replica, directory, process, first):
    """A second lock file beside the one data file would let two at a time write to it."""
    put(replica, "k")
    (directory / LOCKS_NAME).unlink()
    if first != "another":
        replica._next_maintenance = 0
        put(replica, "mine")
    other = process(f"""
replica = Replica.open(directory, writable=True, map_size={MAP_SIZE})
put(replica, "default", "theirs", b"v")
say(replica.replaced())
heard()
""")
    assert other.stdout.readline() == "False\n"
    replica._next_maintenance = 0
    put(replica, "mine")
    assert not replica.replaced()
    assert replica.get("default", "theirs") == b"v"
    assert replica.get("default", "k") is None


def test_a_writer_of_the_old_pair_does_not_reach_the_new_one(replica, directory, process):
    """Until it looks again, what it writes is lost, and harms nobody."""
    put(replica, "k")
    (directory / LOCKS_NAME).unlink()
    other = process(f"""
replica = Replica.open(directory, writable=True, map_size={MAP_SIZE})
with replica.write() as transaction:
    say("inside")
    heard()
    transaction.set("default", "theirs", b"v", version=transaction.next_version(), expires_at=0)
say("done")
heard()
""")
    assert other.stdout.readline() == "inside\n"
    replica._next_maintenance = boottime_ns() + 10**12
    for number in range(200):
        put(replica, f"lost{number}", bytes(1000))
    other.stdin.write("go\n")
    other.stdin.flush()
    assert other.stdout.readline() == "done\n"
    replica._next_maintenance = 0
    put(replica, "mine")
    assert replica.get_many("default", ["k", "lost1", "mine", "theirs"]) == {"mine": b"value", "theirs": b"v"}


def test_nobody_reads_a_file_without_its_lock_file(replica, directory, process):
    """LMDB would make another one, and the writers would take the pages that are being read."""
    put(replica, "k")
    (directory / LOCKS_NAME).unlink()
    reader = process(f"""
try:
    Replica.open(directory, writable=False, map_size={MAP_SIZE})
except OSError as error:
    say(error)
""")
    assert "its lock file was removed" in reader.stdout.readline()
    assert not (directory / LOCKS_NAME).exists()


def test_a_reader_that_meets_half_of_a_new_pair_opens_neither(directory, monkeypatch):
    open_replica(directory).close()
    opened = Environment._open

    def replace_and_open(environment, *arguments):
        if not environment.writable:
            (directory / LOCKS_NAME).rename(directory / "aside")
            (directory / LOCKS_NAME).write_bytes((directory / "aside").read_bytes())
        return opened(environment, *arguments)

    monkeypatch.setattr(Environment, "_open", replace_and_open)
    with pytest.raises(ReplicaError, match="replaced while it was being opened"):
        open_replica(directory, writable=False)


def test_a_node_whose_lock_file_was_removed_does_not_forget_in_silence(directory):
    replica = open_replica(directory, keeps_journal=True)
    (directory / LOCKS_NAME).unlink()
    replica._next_maintenance = 0
    with pytest.raises(ReplicaError, match="removed"):
        put(replica, "k")
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


def test_a_node_whose_directory_was_wiped_does_not_forget_in_silence(directory):
    replica = open_replica(directory, keeps_journal=True)
    shutil.rmtree(directory)
    replica._next_maintenance = 0
    with pytest.raises(ReplicaError, match="removed"):
        put(replica, "k")
    replica.close()


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
