"""The parts of the core that need no cluster."""

from __future__ import annotations

import pytest

from django_hacache.consensus.config import CoreConfig
from django_hacache.consensus.dedup import RECORD_BYTES, Recorded, RequestTable
from django_hacache.consensus.log import DROPPED_BYTES_MAX, DROPPED_ENTRIES_MAX, Log
from django_hacache.consensus.messages import Entry
from django_hacache.consensus.quorum import reached_by


def entries(*terms: int) -> list[Entry]:
    return [Entry(index, term, b"x", f"r{index}") for index, term in enumerate(terms, 1)]


def test_a_majority_reaches_what_its_slowest_member_reaches():
    assert reached_by([5, 3, 9], 2) == 5
    assert reached_by([7], 1) == 7
    assert reached_by([7], 2) == 0


def test_the_log_knows_its_terms_back_to_its_base():
    log = Log(0, 0, entries(1, 1, 2))
    assert [log.term_at(index) for index in range(5)] == [0, 1, 1, 2, None]
    log.compact_to(2)
    assert [log.term_at(index) for index in range(5)] == [None, None, 1, 2, None]
    assert log.bytes == sum(entry.size for entry in log.between(3, 3))


def test_what_the_replica_holds_cannot_be_cut_off():
    log = Log(0, 0, entries(1, 1))
    log.compact_to(1)
    with pytest.raises(AssertionError):
        log.truncate_from(1)


def test_a_candidate_with_a_later_term_or_a_longer_log_is_up_to_date():
    log = Log(0, 0, entries(1, 2))
    assert log.up_to_date(2, 2)
    assert log.up_to_date(1, 3)
    assert not log.up_to_date(5, 1)
    assert not log.up_to_date(1, 2)


def test_a_batch_holds_at_least_one_entry():
    log = Log(0, 0, entries(1, 1, 1))
    assert len(log.batch_from(1, 1)) == 1
    assert len(log.batch_from(1, 1 << 20)) == 3


def test_compaction_keeps_half_of_the_limit_and_what_is_not_applied():
    log = Log(0, 0, entries(*[1] * 9))
    size = log.between(1, 1)[0].size
    assert log.compaction_point(9, 20 * size) is None
    assert log.compaction_point(9, 6 * size) == 6
    assert log.compaction_point(3, 6 * size) == 3


def test_of_a_log_that_is_beyond_its_limit_only_so_much_is_dropped_at_a_time():
    many = Log(0, 0, entries(*[1] * (3 * DROPPED_ENTRIES_MAX)))
    for step in (1, 2):
        point = many.compaction_point(many.last_index, many.bytes // 8)
        assert point == step * DROPPED_ENTRIES_MAX
        many.compact_to(point)
    large = [Entry(index, 1, bytes(DROPPED_BYTES_MAX // 2 + 1)) for index in range(1, 9)]
    huge = [Entry(9, 1, bytes(2 * DROPPED_BYTES_MAX)), Entry(10, 1)]
    log = Log(0, 0, large + huge)
    for index in range(1, 10):
        point = log.compaction_point(10, 1)
        assert point == index
        log.compact_to(point)
    assert len(log) == 1


def test_the_request_table_forgets_the_oldest_and_says_so():
    table = RequestTable(2, 1 << 20)
    for entry in entries(1, 1, 1):
        table.record(entry)
    assert table.find("r1") is None
    assert table.find("r3") == Recorded(3, b"")
    assert table.floor == 1
    assert len(table) == 2


def test_the_request_table_forgets_the_oldest_where_the_outcomes_are_too_many_bytes():
    ordered = [
        Entry(index, 1, b"x", f"r{index}", b"o" * size) for index, size in enumerate((900, 900, 10), 1)
    ]
    table = RequestTable(10, 2 * RECORD_BYTES + 1500)
    for entry in ordered[:2]:
        table.record(entry)
    assert table.floor == 1
    assert [req_id for req_id, _ in table.items()] == ["r2"]
    table.record(ordered[2])
    assert [req_id for req_id, _ in table.items()] == ["r2", "r3"]
    assert table.bytes == 2 * (RECORD_BYTES + len("r2")) + 900 + 10


def test_an_outcome_larger_than_the_request_table_is_forgotten_at_once():
    table = RequestTable(10, 1000)
    table.record(Entry(1, 1, b"x", "r1", b"o" * 1000))
    assert (len(table), table.bytes, table.floor) == (0, 0, 1)


def test_the_request_table_counts_each_request_once():
    table = RequestTable(2, 1 << 20)
    ordered = entries(1, 1, 1)
    # A leader records an entry when it orders it, and again with all that came in the same batch.
    for entry in [*ordered, *ordered]:
        table.record(entry)
    assert table.items() == [("r2", Recorded(2, b"")), ("r3", Recorded(3, b""))]
    assert (table.floor, table.bytes) == (1, 2 * (RECORD_BYTES + 2))


def test_the_request_table_takes_what_comes_instead_of_what_was_cut_off_the_log():
    table = RequestTable(2, 1 << 20)
    cut = entries(1, 1, 1, 1, 1)
    for entry in cut:
        table.record(entry)
    assert table.floor == 3
    table.forget(cut[1:])
    assert (len(table), table.bytes, table.floor) == (0, 0, 1)
    table.record(Entry(2, 2, b"x", "other"))
    assert table.find("other") == Recorded(2, b"")


def test_the_request_table_of_a_snapshot_is_bounded_too():
    table = RequestTable(10, 2 * RECORD_BYTES)
    table.replace([("a", Recorded(4, b"")), ("b", Recorded(6, b""))], 3)
    assert (table.items(), table.floor) == ([("b", Recorded(6, b""))], 4)
    table.clear()
    assert (len(table), table.bytes, table.floor) == (0, 0, 0)


def test_the_request_table_forgets_what_was_cut_off_the_log():
    table = RequestTable(10, 1 << 20)
    cut = entries(1, 1)
    for entry in cut:
        table.record(entry)
    table.forget(cut[1:])
    assert table.find("r1") is not None
    assert table.find("r2") is None


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"peers": ("a", "b")}, "a"), ({"lease_ms": 200}, "200"), ({"lease_ms": 3000}, "3000")],
)
def test_a_configuration_that_cannot_work_is_refused_by_name(changes, named):
    with pytest.raises(ValueError, match=named):
        CoreConfig(**{"addr": "a", "peers": ("b", "c"), **changes})
