"""A replica of another boot or of another layout says nothing, and leaves nothing."""

from __future__ import annotations

import lmdb
import pytest

from django_hacache.exceptions import ReplicaError
from django_hacache.replica.clock import boot_id
from django_hacache.replica.pair import FILE_NAME
from tests.replica.writing import MAP_SIZE, open_replica, put


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
