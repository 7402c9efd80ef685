"""A location that was wiped, or one file of it removed, while it was in use."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from django_hacache.exceptions import ReplicaError
from django_hacache.replica.environment import Environment
from django_hacache.replica.pair import FILE_NAME, LOCKS_NAME
from tests.replica.writing import MAP_SIZE, open_replica, put
from tests.system_call import failing

HOUR_S = 3600


def test_a_writer_whose_directory_was_wiped_starts_empty_again(replica, directory, later):
    put(replica, "k")
    shutil.rmtree(directory)
    later()
    put(replica, "after")
    assert replica.get("default", "after") == b"value"
    assert replica.get("default", "k") is None
    other = directory / "replica.lmdb"
    assert other.exists()


@pytest.mark.parametrize("first", ["the one that had it open", "another"])
def test_writers_whose_file_alone_was_removed_share_the_next_one(replica, directory, process, later, first):
    """Its lock file is left: shared with the next file, it would let two at a time write there."""
    put(replica, "k")
    (directory / FILE_NAME).unlink()
    later()
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
def test_writers_whose_lock_file_alone_was_removed_share_the_next_pair(
    replica, directory, process, later, first
):
    """A second lock file beside the one data file would let two at a time write to it."""
    put(replica, "k")
    (directory / LOCKS_NAME).unlink()
    if first != "another":
        later()
        put(replica, "mine")
    other = process(f"""
replica = Replica.open(directory, writable=True, map_size={MAP_SIZE})
put(replica, "default", "theirs", b"v")
say(replica.replaced())
heard()
""")
    assert other.stdout.readline() == "False\n"
    later()
    put(replica, "mine")
    assert not replica.replaced()
    assert replica.get("default", "theirs") == b"v"
    assert replica.get("default", "k") is None


def test_a_writer_of_the_old_pair_does_not_reach_the_new_one(replica, directory, process, later, monkeypatch):
    """Until it looks again, what it writes is lost, and harms nobody."""
    monkeypatch.setattr("django_hacache.replica.replica.MAINTENANCE_NS", HOUR_S * 10**9)
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
    for number in range(200):
        put(replica, f"lost{number}", bytes(1000))
    other.stdin.write("go\n")
    other.stdin.flush()
    assert other.stdout.readline() == "done\n"
    later(HOUR_S)
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


def test_a_node_whose_lock_file_was_removed_does_not_forget_in_silence(directory, later):
    replica = open_replica(directory, keeps_journal=True)
    (directory / LOCKS_NAME).unlink()
    later()
    with pytest.raises(ReplicaError, match="removed"):
        put(replica, "k")
    replica.close()


def test_a_node_whose_directory_was_wiped_does_not_forget_in_silence(directory, later):
    replica = open_replica(directory, keeps_journal=True)
    shutil.rmtree(directory)
    later()
    with pytest.raises(ReplicaError, match="removed"):
        put(replica, "k")
    replica.close()


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENOMEM, errno.EACCES, errno.EINTR])
def test_a_file_that_cannot_be_looked_at_for_a_moment_counts_as_the_same(replica, monkeypatch, error):
    put(replica, "k")
    monkeypatch.setattr(Path, "stat", failing(OSError(error, os.strerror(error))))
    assert not replica.replaced()
    put(replica, "k2")
    assert replica.get("default", "k2") == b"value"
