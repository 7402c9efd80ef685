from __future__ import annotations

from django_hacache.replica.replica import Replica
from tests.replica.writing import MAP_SIZE


def test_meta_and_entries_survive_a_restart(replica, directory):
    with replica.write() as transaction:
        transaction.journal.put_meta("term", b"3")
        transaction.journal.put_entries([(2, b"b"), (1, b"a"), (300, b"c")])
        transaction.journal.put_request(5, b"r")
    replica.close()
    reopened = Replica.open(directory, writable=True, map_size=MAP_SIZE)
    with reopened.snapshot() as picture:
        assert picture.journal.get_meta("term") == b"3"
        assert picture.journal.get_meta("vote") is None
        assert picture.journal.entries() == [(1, b"a"), (2, b"b"), (300, b"c")]
        assert picture.journal.requests() == [(5, b"r")]
    reopened.close()


def indexes(journal):
    return [index for index, _ in journal.entries()]


def test_truncation_removes_the_entry_and_all_after_it(replica):
    with replica.write() as transaction:
        transaction.journal.put_entries([(index, b"e") for index in range(1, 400)])
        transaction.journal.truncate_from(300)
        assert indexes(transaction.journal) == list(range(1, 300))
        transaction.journal.truncate_from(1000)
        assert indexes(transaction.journal) == list(range(1, 300))
        transaction.journal.truncate_from(0)
        assert indexes(transaction.journal) == []


def test_compaction_removes_all_entries_up_to_the_index(replica):
    with replica.write() as transaction:
        transaction.journal.compact_to(10)
        transaction.journal.put_entries([(index, b"e") for index in range(1, 400)])
        transaction.journal.compact_to(300)
        assert indexes(transaction.journal) == list(range(301, 400))
        transaction.journal.compact_to(10_000)
        assert indexes(transaction.journal) == []


def test_an_entry_at_a_taken_index_replaces_it(replica):
    with replica.write() as transaction:
        transaction.journal.put_entries([(1, b"old")])
        transaction.journal.put_entries([(1, b"new")])
        assert transaction.journal.entries() == [(1, b"new")]


def test_the_request_table_forgets_from_its_old_end(replica):
    with replica.write() as transaction:
        for sequence in range(1, 6):
            transaction.journal.put_request(sequence, b"%d" % sequence)
        transaction.journal.delete_requests_to(3)
        assert transaction.journal.requests() == [(4, b"4"), (5, b"5")]
        transaction.journal.clear_requests()
        assert transaction.journal.requests() == []


def test_clearing_caches_leaves_the_journal(replica):
    with replica.write() as transaction:
        transaction.journal.put_entries([(1, b"a")])
        transaction.set("default", "k", b"v", version=1, expires_at=0)
        transaction.empty()
        assert transaction.journal.entries() == [(1, b"a")]
