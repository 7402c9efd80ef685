"""Files that LMDB cannot read, and files that only look so."""

from __future__ import annotations

import os
import random

import pytest

from django_hacache.exceptions import ReplicaBroken, ReplicaError
from django_hacache.replica.environment import Environment
from django_hacache.replica.pair import FILE_NAME
from tests.replica.writing import MAP_SIZE, as_lmdb_has_it, open_replica, put

MEBIBYTE = 1024 * 1024


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
    replica.close()
    with as_lmdb_has_it(directory) as raw:
        last = (raw.info()["last_pgno"] + 1) * raw.stat()["psize"]
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


def test_one_broken_file_is_kept(directory):
    directory.mkdir(mode=0o700)
    for content in (b"first" * 5000, b"second" * 5000):
        (directory / "replica.lmdb").write_bytes(content)
        open_replica(directory).close()
    assert [path.name for path in directory.glob("*broken*")] == ["replica.lmdb.broken-1"]
    assert (directory / "replica.lmdb.broken-1").read_bytes() == b"second" * 5000
