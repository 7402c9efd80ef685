"""State on its way to a host that has nothing, and what may happen in the middle of it."""

from __future__ import annotations

import signal
from contextlib import contextmanager

import pytest

from tests.faults.judge import LONG_ENOUGH_S, assert_kept_its_promises, failed, lasting, writes
from tests.waiting import eventually

VALUES, VALUE_BYTES = 800, 10_000
# Written so often that the log, 64 MiB, no longer reaches back to the beginning.
ROUNDS = 10
RATE = "10mbit"


def received_percent(host):
    return max((one.percent for one in host.transfers() if one.incoming), default=0)


@pytest.fixture(scope="module", autouse=True)
def _long_history(_lasting):
    cluster, _ = _lasting
    cluster.repair()
    for _ in range(ROUNDS):
        cluster.hosts[0].worker.store("state", VALUES, VALUE_BYTES)


@contextmanager
def in_the_middle_of_a_transfer(cluster, joiner):
    """The host has lost everything and is being sent it, over a link that is slow while the block runs."""
    joiner.signal(signal.SIGKILL)
    joiner.wipe()
    cluster.network.slow_down(joiner.machine, RATE)
    joiner.start()
    eventually(lambda: received_percent(joiner) >= 5)
    yield
    cluster.network.heal()


def assert_has_everything(joiner):
    # Its worker notices with its first read that the directory is another one: that read is a miss.
    joiner.worker.has_key("state0")
    assert joiner.worker.differing("state", VALUES, VALUE_BYTES) == 0


def strike_kill(cluster, joiner):
    joiner.signal(signal.SIGKILL)


def strike_cut(cluster, joiner):
    cluster.network.isolate(joiner.machine)


@pytest.mark.parametrize("strike", [strike_kill, strike_cut])
def test_a_transfer_that_breaks_off_goes_on(cluster, recorders, strike):
    leader = cluster.leader()
    joiner, other = cluster.others(leader)
    complete = f"{joiner.addr} has the snapshot"
    before = leader.log.read_text().count(complete)
    with recorders.running(hosts=[leader, other]) as history:
        with in_the_middle_of_a_transfer(cluster, joiner):
            # It is connected, and neither votes nor serves yet.
            assert leader.status().health == "degraded"
            strike(cluster, joiner)
            assert not joiner.serves()
            eventually(lambda: not leader.transfers())
        if not joiner.running:
            joiner.start()
        eventually(joiner.serves, 40)
        assert_has_everything(joiner)
    # It serves a moment before its word of that is here.
    eventually(lambda: leader.log.read_text().count(complete) == before + 1)
    assert failed(writes(history)) == []
    assert_kept_its_promises(cluster, history)


def test_a_leader_that_dies_in_the_middle_of_a_transfer_is_not_replaced_with_the_vote_of_the_joiner(
    cluster, recorders
):
    leader = cluster.leader()
    joiner, other = cluster.others(leader)
    with recorders.running(hosts=[other]) as history:
        with in_the_middle_of_a_transfer(cluster, joiner):
            elected = len(cluster.leaderships())
            leader.signal(signal.SIGKILL)
            # With a vote of the joiner there would be a new one within half a second.
            lasting(LONG_ENOUGH_S / 2)
            assert len(cluster.leaderships()) == elected
        leader.start()
        cluster.wait()
        assert_has_everything(joiner)
    assert_kept_its_promises(cluster, history)
