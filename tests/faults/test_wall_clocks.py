"""Hosts whose wall clocks jump by an hour while everything goes on."""

from __future__ import annotations

import os

import pytest

from tests.faults import wall_clock
from tests.faults.judge import assert_kept_its_promises, failed, no_change_of_leader
from tests.faults.laboratory import laboratory
from tests.faults.network import why_impossible
from tests.faults.wall_clock import HOUR_S, OWN_CLOCKS, assert_off_by, jump
from tests.waiting import eventually


@pytest.fixture(scope="module")
def own_clocks():
    reason = why_impossible() or wall_clock.why_impossible()
    if reason is not None:
        if os.environ.get("HACACHE_REQUIRE_ALL_TESTS"):
            pytest.fail(reason)
        pytest.skip(reason)
    with laboratory(environment=OWN_CLOCKS) as made:
        yield made


@pytest.mark.parametrize(("who", "seconds"), [("leader", HOUR_S), ("follower", -HOUR_S)])
def test_a_jump_of_a_wall_clock_changes_no_leader_and_no_time_to_live(own_clocks, who, seconds):
    cluster, recorders = own_clocks
    with recorders.running() as history, no_change_of_leader(cluster) as leader:
        host = leader if who == "leader" else cluster.others(leader)[0]
        for each in cluster.hosts:
            each.worker.set(f"long-{each.addr}", "before", HOUR_S / 2)
            each.worker.set(f"short-{each.addr}", "before", 1)
        jump(host, seconds)
        assert_off_by(host, seconds)
        for each in cluster.hosts:
            each.worker.set(f"long-after-{each.addr}", "after", HOUR_S / 2)
            each.worker.set(f"short-after-{each.addr}", "after", 1)
        short = [f"short-{when}{each.addr}" for each in cluster.hosts for when in ("", "after-")]
        long = [key.replace("short", "long") for key in short]
        for each in cluster.hosts:
            eventually(lambda each=each: each.worker.get_many(short) == {})
            assert set(each.worker.get_many(long)) == set(long)
        jump(host, 0)
        for each in cluster.hosts:
            assert set(each.worker.get_many(long)) == set(long)
    assert failed(history) == []
    assert_kept_its_promises(cluster, history)
