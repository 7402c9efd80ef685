"""Who does not belong to the cluster and connects to its nodes all the same."""

from __future__ import annotations

import json
import signal
import subprocess
from contextlib import contextmanager

import pytest

from tests.clusters import PYTHON, ROOT, Failed
from tests.faults.judge import assert_kept_its_promises, failed, no_change_of_leader, writes
from tests.faults.stranger import IDLE, KNOCKS
from tests.waiting import eventually


@contextmanager
def stranger(cluster, what, *hosts):
    """What the stranger tells; what it holds open stays so while the block runs."""
    command = [*PYTHON, "tests.faults.stranger", what, *(host.addr for host in hosts)]
    process = subprocess.Popen(
        cluster.network.outside.inside(*command),
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.communicate()


def test_what_a_port_scanner_sends_disturbs_nobody(cluster, recorders):
    strangers = stranger(cluster, "scan", *cluster.hosts)
    with recorders.running() as history, no_change_of_leader(cluster), strangers as answers:
        assert answers > 0
    assert failed(history) == []
    assert_kept_its_promises(cluster, history)


def test_a_thousand_idle_connections_disturb_nobody(cluster, recorders):
    leader = cluster.leader()
    strangers = stranger(cluster, "idle", leader)
    with recorders.running() as history, no_change_of_leader(cluster), strangers as connections:
        assert connections == IDLE
        for host in cluster.hosts:
            host.worker.set("probe", host.addr, ack="all")
        # A node that comes back finds its way in beside them.
        back = cluster.others(leader)[0]
        back.signal(signal.SIGTERM)
        back.start()
        cluster.wait()
    assert failed(history) == []
    assert_kept_its_promises(cluster, history)


def test_a_client_with_a_wrong_token_or_none_is_not_let_in(cluster, recorders):
    strangers = stranger(cluster, "knock", cluster.leader())
    with recorders.running() as history, no_change_of_leader(cluster), strangers as ends:
        # After some of them no token from there is looked at.
        assert set(ends) == {"UNAUTHENTICATED", "RESOURCE_EXHAUSTED"}
        assert len(ends) == KNOCKS
    assert failed(history) == []
    assert_kept_its_promises(cluster, history)


def test_a_node_with_a_wrong_token_takes_no_part_and_disturbs_nobody(cluster, recorders):
    with recorders.running() as history, no_change_of_leader(cluster) as leader:
        wrong, other = cluster.others(leader)
        wrong.signal(signal.SIGTERM)
        right = wrong.environment
        wrong.environment = right | {"CACHE_AUTH_TOKEN": "another token, as long as the right one is"}
        wrong.start()
        other.worker.set("probe", "without", ack="all")
        eventually(lambda: "refused our CACHE_AUTH_TOKEN" in wrong.log.read_text())
        assert wrong.worker.get("probe") is None
        with pytest.raises(Failed):
            wrong.worker.set("probe", "wrong", alias="hasty")
        assert not wrong.serves()
        wrong.signal(signal.SIGTERM)
        wrong.environment = right
        wrong.start()
        eventually(lambda: wrong.worker.get("probe") == "without")
    assert failed(writes(history, [leader, other])) == []
    assert_kept_its_promises(cluster, history)
