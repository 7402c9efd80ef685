"""Nodes that are killed, frozen, wiped and restarted under real workers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from tests.clusters import ROOT, Failed, Worker
from tests.faults.network import why_impossible
from tests.waiting import eventually

without_namespaces = pytest.mark.skipif(
    why_impossible() is None, reason="tests/faults does the same and more, where namespaces are possible"
)


def failure(call, *args, says=False, **kwargs):
    """The classes of what is raised; with `says`, its message."""
    with pytest.raises(Failed) as caught:
        call(*args, **kwargs)
    return caught.value.says if says else caught.value.kinds


def status_of(host):
    """Exit code and JSON of the command on `host`."""
    ran = subprocess.run(
        [sys.executable, "-m", "django", "hacache_status", "--json"],
        env=host.environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.returncode, json.loads(ran.stdout)


@without_namespaces
def test_kill_9_of_the_leader_under_load_loses_no_acknowledged_entry(new_cluster, tmp_path):
    cluster = new_cluster()
    leader = cluster.leader()
    survivors = cluster.others(leader)
    stop = tmp_path / "stop"
    for number in range(0, 3000, 100):
        leader.worker.set_many({f"2-{n}": n for n in range(number, number + 100)}, None)
    filling = {number: Worker(host.environment) for number, host in enumerate(survivors)}
    for number, worker in filling.items():
        worker.begin("fill", f"{number}-", str(stop))
    for number, host in enumerate(survivors):
        eventually(lambda host=host, n=number: host.worker.get(f"{n}-300") == 300)
    leader.signal(signal.SIGKILL)
    new = cluster.leader(survivors)
    # They write on, through the new leader, until they are told to stop.
    for number, host in enumerate(survivors):
        written = 301
        while host.worker.get(f"{number}-{written}") is not None:
            written += 1
        eventually(lambda host=host, key=f"{number}-{written + 300}": host.worker.get(key) is not None)
    stop.touch()
    answers = {number: worker.end() for number, worker in filling.items()}
    for worker in filling.values():
        worker.stop()
    assert [answer["failed"] for answer in answers.values()] == [[], []], "a caller had to retry"
    leader.start()
    cluster.wait()
    expected = {f"{number}-{n}": n for number, answer in answers.items() for n in range(answer["count"])}
    expected |= {f"2-{n}": n for n in range(3000)}
    for host in cluster.hosts:
        eventually(lambda host=host: host.worker.get_many(list(expected)) == expected)
    assert new.status().term > 1


def test_a_host_whose_node_was_killed_misses_and_raises_until_the_node_is_back(new_cluster):
    cluster = new_cluster()
    host = cluster.others(cluster.leader())[0]
    host.worker.set("key", 1)
    assert host.worker.get("key") == 1
    host.signal(signal.SIGKILL)
    eventually(lambda: host.worker.get("key") is None, 3)
    assert "ConnectionError" in failure(host.worker.set, "key", 2, alias="hasty")
    assert "not tried again" in failure(host.worker.set, "key", 2, alias="hasty", says=True)
    assert host.worker.delete("key", alias="ignoring") is False
    assert host.worker.set_many({"a": 1}, alias="ignoring") == ["a"]
    assert "CacheUnavailable" in failure(host.worker.add, "lock", 1, alias="ignoring")
    assert "CacheUnavailable" in failure(host.worker.incr_version, "key", alias="ignoring")
    other = cluster.others(host)[0]
    other.worker.set("key", 3)
    code, answer = status_of(other)
    assert (code, answer["health"]) == (0, "degraded")
    code, answer = status_of(host)
    assert (code, answer["health"]) == (2, None)
    assert "could not be reached" in answer["error"]
    term = other.status().term
    host.start()
    eventually(lambda: host.worker.get("key") == 3)
    host.worker.set("key", 4)
    assert host.worker.get("key") == 4
    assert other.status().term == term


@without_namespaces
def test_a_frozen_leader_is_replaced_and_never_serves_what_was_overwritten(new_cluster, tmp_path):
    cluster = new_cluster()
    leader = cluster.leader()
    others = cluster.others(leader)
    leader.worker.set("key", "old", ack="all")
    leader.signal(signal.SIGSTOP)
    new = cluster.leader(others)
    eventually(new.serves)
    new.worker.set("key", "new", ack="all")
    assert leader.worker.get("key") is None
    stop, spinning = tmp_path / "stop", Worker(leader.environment)
    # It has begun when it answers this.
    assert spinning.get("key") is None
    spinning.begin("spin", "key", str(stop))
    leader.signal(signal.SIGCONT)
    eventually(lambda: leader.worker.get("key") == "new")
    stop.touch()
    assert set(spinning.end()) <= {None, "new"}
    spinning.stop()
    leader.worker.set("key", "newer")
    assert leader.worker.get("key") == "newer"


@without_namespaces
def test_a_frozen_follower_causes_no_election(new_cluster):
    cluster = new_cluster()
    leader = cluster.leader()
    frozen, other = cluster.others(leader)
    term = leader.status().term
    frozen.worker.set("key", 1)
    frozen.signal(signal.SIGSTOP)
    eventually(lambda: frozen.worker.get("key") is None, 3)
    other.worker.set("key", 2, ack="all")
    assert "ConnectionError" in failure(frozen.worker.set, "key", 3, alias="hasty")
    frozen.signal(signal.SIGCONT)
    eventually(lambda: frozen.worker.get("key") == 2)
    assert leader.status().term == term


def test_a_node_that_was_down_for_a_moment_gets_the_difference_only(new_cluster):
    cluster = new_cluster()
    leader = cluster.leader()
    host, other = cluster.others(leader)
    host.worker.set("before", 1, ack="all")
    host.signal(signal.SIGKILL)
    other.worker.set_many({f"missed{number}": number for number in range(500)}, None)
    host.start()
    eventually(lambda: host.worker.get("missed499") == 499)
    assert host.worker.get("before") == 1
    assert "snapshot" not in host.log.read_text()
    assert "snapshot" not in leader.log.read_text()


@pytest.mark.parametrize("wiped", [False, True])
def test_a_node_that_was_down_gets_what_it_missed(new_cluster, wiped):
    cluster = new_cluster()
    host, *others = cluster.hosts
    host.worker.set("before", 1, ack="all")
    host.signal(signal.SIGKILL)
    if wiped:
        host.wipe()
    # More than the log keeps: only a snapshot can bring it.
    eventually(others[0].serves)
    value = "x" * 4_000_000
    for number in range(20):
        others[0].worker.set(f"big{number}", value + str(number), None)
    host.start()
    eventually(lambda: host.worker.get("big19") == value + "19", 40)
    assert host.worker.get("big0") == value + "0"
    assert host.worker.get("before") == 1
    host.worker.set("after", 1)
    eventually(lambda: not next(h for h in host.status().hosts if h.addr == host.addr).fresh)


def test_five_hosts_survive_the_loss_of_two(new_cluster):
    cluster = new_cluster(5)
    leader = cluster.leader()
    lost = [leader, cluster.others(leader)[0]]
    leader.worker.set("key", 1)
    for host in lost:
        host.signal(signal.SIGKILL)
    survivors = cluster.others(*lost)
    survivors[0].worker.set("after", 2)
    for host in survivors:
        eventually(lambda host=host: host.worker.get_many(["key", "after"]) == {"key": 1, "after": 2})


def test_without_a_majority_nothing_is_written_and_nothing_is_thrown_away(new_cluster):
    cluster = new_cluster()
    host, *others = cluster.hosts
    host.worker.set("key", 1, ack="all")
    for other in others:
        other.signal(signal.SIGKILL)
    eventually(lambda: host.worker.get("key") is None, 5)
    assert "CacheUnavailable" in failure(host.worker.set, "key", 2, alias="hasty")
    code, answer = status_of(host)
    assert (code, answer["health"], answer["quorum"]) == (1, "bad", False)
    for other in others:
        other.start()
    cluster.wait()
    for one in cluster.hosts:
        eventually(lambda one=one: one.worker.get("key") == 1)


@without_namespaces
def test_a_majority_that_lost_its_memory_forms_a_new_generation_with_empty_caches(new_cluster):
    cluster = new_cluster()
    for host in cluster.hosts:
        host.worker.set("key", "old", ack="all")
    kept, *lost = cluster.hosts
    for host in lost:
        host.signal(signal.SIGKILL)
        host.wipe()
    for host in lost:
        host.start()
    cluster.wait()
    for host in cluster.hosts:
        assert host.worker.get("key") is None
    kept.worker.set("key", "new", ack="all")
    assert [host.worker.get("key") for host in cluster.hosts] == ["new"] * 3


def test_sigterm_hands_the_leadership_over_and_no_write_fails(new_cluster, tmp_path):
    cluster = new_cluster()
    leader = cluster.leader()
    stop, writer = tmp_path / "stop", cluster.others(leader)[0]
    filling = Worker(writer.environment)
    filling.begin("fill", "key", str(stop))
    eventually(lambda: writer.worker.get("key200") == 200)
    assert leader.signal(signal.SIGTERM) == 0
    new = cluster.leader(cluster.others(leader))
    reached = new.status().hosts[0].commit_index
    eventually(lambda: new.status().hosts[0].commit_index > reached + 200)
    stop.touch()
    assert filling.end()["failed"] == []
    filling.stop()
    log = leader.log.read_text()
    assert "serves default" in log
    assert "is now leader" in log
    assert "hands the leadership over" in log
    assert "Traceback" not in log


def test_no_write_of_a_host_fails_while_its_node_is_restarted(new_cluster, tmp_path):
    (host,) = new_cluster(1).hosts
    stop, filling = tmp_path / "stop", Worker(host.environment)
    filling.begin("fill", "key", str(stop))
    eventually(lambda: host.worker.get("key100") == 100)
    assert host.signal(signal.SIGTERM) == 0
    host.start()
    eventually(host.serves)
    host.worker.set("after", 1)
    stop.touch()
    assert filling.end()["failed"] == []
    filling.stop()


def test_sigint_ends_a_node_cleanly(new_cluster):
    (host,) = new_cluster(1).hosts
    assert host.signal(signal.SIGINT) == 0
    assert not (host.location / "node.sock").exists()
