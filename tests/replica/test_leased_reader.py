from __future__ import annotations

import shutil
from types import FunctionType

import pytest

from django_hacache.exceptions import ReplicaError
from django_hacache.replica.clock import boottime_ns
from django_hacache.replica.control import ControlPage
from django_hacache.replica.leased_reader import LeasedReader
from django_hacache.replica.replica import Replica
from tests.replica.writing import MAP_SIZE, put

HOUR = 3600 * 10**9

WORKER = f"""
leased_reader.RECHECK_NS = 0
reader = LeasedReader(directory, map_size={MAP_SIZE})
while word := heard().strip():
    say(reader.get("default", word))
"""


class Worker:
    """A worker in a process of its own, since one process opens a replica once."""

    def __init__(self, child):
        self.child = child

    def get(self, word):
        self.child.stdin.write(word + "\n")
        self.child.stdin.flush()
        return self.child.stdout.readline().strip()


@pytest.fixture
def worker(process):
    return Worker(process(WORKER))


def test_reads_hit_while_the_lease_holds_and_miss_otherwise(replica, worker):
    control = ControlPage.create(replica.directory)
    put(replica, "k", b"v")
    assert worker.get("k") == "None"
    control.grant(boottime_ns() + HOUR)
    assert worker.get("k") == "b'v'"
    control.revoke()
    assert worker.get("k") == "None"
    control.grant(boottime_ns() + HOUR)
    assert worker.get("k") == "b'v'"
    control.grant(boottime_ns())
    assert worker.get("k") == "None"


def test_a_worker_that_started_before_the_node_recovers_without_a_restart(worker, directory, request):
    assert worker.get("k") == "None"
    replica = request.getfixturevalue("replica")
    control = ControlPage.create(directory)
    put(replica, "k", b"v")
    control.grant(boottime_ns() + HOUR)
    assert worker.get("k") == "None"  # this read noticed
    assert worker.get("k") == "b'v'"


def test_a_worker_follows_a_directory_that_was_wiped_and_made_again(replica, worker, directory, later):
    control = ControlPage.create(directory)
    put(replica, "k", b"old")
    control.grant(boottime_ns() + HOUR)
    worker.get("k")
    assert worker.get("k") == "b'old'"
    control.revoke()
    shutil.rmtree(directory)
    assert worker.get("k") == "None"
    later()
    put(replica, "k", b"new")
    control = ControlPage.create(directory)
    control.grant(boottime_ns() + HOUR)
    assert worker.get("k") == "None"
    assert worker.get("k") == "b'new'"


def test_a_broken_replica_is_a_miss(directory, worker):
    directory.mkdir(mode=0o700)
    (directory / "replica.lmdb").write_bytes(b"garbage" * 5000)
    ControlPage.create(directory).grant(boottime_ns() + HOUR)
    assert worker.get("k") == "None"
    assert worker.get("k") == "None"


def test_what_makes_all_reads_misses_is_said_once_and_so_is_its_end(directory, caplog, monkeypatch, later):
    replica = Replica.open(directory, writable=True, map_size=MAP_SIZE)
    put(replica, "k", b"v")
    replica.close()  # the reader is of this process
    ControlPage.create(directory).grant(boottime_ns() + HOUR)
    reader = LeasedReader(directory, map_size=MAP_SIZE)
    caplog.set_level("INFO")

    def fails(_self, *_arguments):
        raise ReplicaError("the reader table is gone")

    # What is raised outside of the package is the caller's: see interruption.py.
    fails = FunctionType(fails.__code__, {**globals(), "__name__": Replica.__module__})
    with monkeypatch.context() as broken:
        for method in ("raw", "probe"):
            broken.setattr(Replica, method, fails)
        for _ in range(5):
            later()
            assert reader.get("default", "k") is None
            assert not reader.has("default", "k")
        assert reader.trouble == "the reader table is gone"
    assert reader.get("default", "k") == b"v"
    assert reader.trouble == ""
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", f"reads of the replica in {directory} are misses: the reader table is gone"),
        ("INFO", f"reads of the replica in {directory} are served again"),
    ]
    reader.close()


def test_a_control_page_that_cannot_be_opened_is_no_silent_miss(directory, caplog):
    directory.mkdir(mode=0o700)
    (directory / "control").symlink_to("elsewhere")
    reader = LeasedReader(directory, map_size=MAP_SIZE)
    assert reader.get("default", "k") is None
    assert f"{directory}/control is a symbolic link" in reader.trouble
    assert len(caplog.records) == 1


def test_every_read_is_guarded(replica, process):
    control = ControlPage.create(replica.directory)
    put(replica, "k", b"v", version=5)
    control.grant(boottime_ns() + HOUR)
    child = process(f"""
reader = LeasedReader(directory, map_size={MAP_SIZE})
while heard().strip():
    say((reader.get_many("default", ["k"]), reader.has("default", "k"), reader.item("default", "k")))
""")
    worker = Worker(child)
    assert worker.get("go") == "({'k': b'v'}, True, Item(value=b'v', version=5, expires_at=0))"
    control.revoke()
    assert worker.get("go") == "({}, False, None)"


def test_a_worker_frozen_between_value_and_lease_check_returns_nothing(replica, process):
    control = ControlPage.create(replica.directory)
    put(replica, "k", b"old")
    control.grant(boottime_ns() + HOUR)
    child = process(f"""
reader = LeasedReader(directory, map_size={MAP_SIZE})
read = Replica.raw
def read_then_freeze(replica, cache, key):
    raw = read(replica, cache, key)
    say(raw[16:])
    heard()
    return raw
Replica.raw = read_then_freeze
say(reader.get("default", "k"))
""")
    assert child.stdout.readline() == "b'old'\n"
    control.revoke()
    put(replica, "k", b"new")
    control.grant(boottime_ns() + HOUR)
    child.stdin.write("thaw\n")
    child.stdin.flush()
    assert child.stdout.readline() == "None\n"


def test_a_read_that_is_under_way_outlives_the_look_that_finds_the_directory_wiped(
    replica, directory, process
):
    ControlPage.create(directory).grant(boottime_ns() + HOUR)
    put(replica, "k", b"v")
    child = process(f"""
import shutil
from django_hacache.worker.process import site_of
from django_hacache.worker.sites import ClusterSite
site = site_of(ClusterSite, directory, {MAP_SIZE})
read = Replica.raw
def read_after_the_look(replica, cache, key):
    shutil.rmtree(directory)
    try:
        with site.breaker:
            raise TimeoutError  # whoever gives a write up looks whether there is a node
    except TimeoutError:
        pass
    return read(replica, cache, key)
Replica.raw = read_after_the_look
reader = site.reader
say(reader.get("default", "k"))
say(reader.control)
""")
    assert child.stdout.readline() == "b'v'\n"
    assert child.stdout.readline() == "None\n"
