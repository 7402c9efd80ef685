"""Three hosts share one cache: what each writes, all read, in one order."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.clusters import ROOT, Failed, Worker
from tests.waiting import eventually


def test_what_one_host_writes_is_read_on_every_host(cluster):
    for number, writer in enumerate(cluster.hosts):
        writer.worker.set(f"from{number}", {"host": number})
        for reader in cluster.hosts:
            eventually(lambda reader=reader, n=number: reader.worker.get(f"from{n}") == {"host": n})


@pytest.mark.parametrize("number", range(3))
def test_after_set_another_process_of_the_same_host_reads_the_value(cluster, number):
    host = cluster.hosts[number]
    second = Worker(host.environment)
    for value in range(50):
        host.worker.set("own", value)
        assert second.get("own") == value
    second.stop()


@pytest.mark.parametrize("ack", ["direct", "leader", "once", "quorum", "all"])
def test_every_ack_level_brings_the_value_to_every_host(cluster, ack):
    cluster.hosts[0].worker.set(f"level-{ack}", ack, ack=ack)
    for host in cluster.hosts:
        eventually(lambda host=host: host.worker.get(f"level-{ack}") == ack)


def test_after_a_set_at_level_all_every_host_reads_the_value_at_once(cluster):
    for value in range(20):
        cluster.hosts[value % 3].worker.set("everywhere", value, ack="all")
        assert [host.worker.get("everywhere") for host in cluster.hosts] == [value] * 3


def test_one_of_several_hosts_wins_an_add(cluster):
    for number in range(20):
        for host in cluster.hosts:
            host.worker.begin("add", f"lock{number}", host.addr)
        assert [host.worker.end() for host in cluster.hosts].count(True) == 1


def test_a_move_takes_the_newest_value_wherever_it_is_asked_for(cluster):
    writer, _, mover = cluster.hosts
    for number in range(20):
        writer.worker.set(f"moved{number}", "old", ack="all")
        writer.worker.set(f"moved{number}", "new", ack="quorum")
        assert mover.worker.incr_version(f"moved{number}") == 2
        assert mover.worker.get(f"moved{number}") is None
        assert mover.worker.get(f"moved{number}", version=2) == "new"


def test_a_move_finds_what_this_host_has_not_seen_yet_and_misses_what_is_gone(cluster):
    leader = cluster.leader()
    for mover in cluster.others(leader):
        for number in range(20):
            key = f"fresh-{mover.addr}-{number}"
            leader.worker.set(key, number, ack="leader")
            assert mover.worker.incr_version(key) == 2
            leader.worker.delete(key, version=2, ack="leader")
            with pytest.raises(Failed) as caught:
                mover.worker.decr_version(key, version=2)
            assert caught.value.kinds[0] == "ValueError"


def test_one_of_several_hosts_wins_a_move(cluster):
    for number in range(20):
        cluster.hosts[0].worker.set(f"prize{number}", number)
        for host in cluster.hosts:
            host.worker.begin("incr_version", f"prize{number}")
        won = 0
        for host in cluster.hosts:
            try:
                won += host.worker.end() == 2
            except Failed as error:
                assert error.kinds[0] == "ValueError"
        assert won == 1
        eventually(lambda n=number: cluster.hosts[0].worker.get(f"prize{n}", version=2) == n)


def test_increments_of_all_hosts_are_counted_once_each(cluster, tmp_path):
    """Two processes a host, as fast as they can."""
    cluster.hosts[0].worker.set("counter", 0)
    stop = tmp_path / "stop"
    counting = [Worker(host.environment) for host in cluster.hosts for _ in range(2)]
    for worker in counting:
        worker.begin("count", "counter", str(stop))
    eventually(lambda: cluster.hosts[0].worker.get("counter") > 1000)
    stop.touch()
    answers = [worker.end() for worker in counting]
    for worker in counting:
        worker.stop()
    assert all(answer["acknowledged"] > 0 and answer["unknown"] == 0 for answer in answers)
    total = sum(answer["acknowledged"] for answer in answers)
    assert cluster.hosts[1].worker.incr("counter", 0) == total


def test_many_values_and_large_ones(cluster):
    data = {f"many{number}": number for number in range(3000)}
    assert cluster.hosts[0].worker.set_many(data) == []
    eventually(lambda: cluster.hosts[2].worker.get_many(list(data)) == data)
    large = "x" * 5_000_000
    cluster.hosts[1].worker.set("large", large)
    eventually(lambda: cluster.hosts[0].worker.get("large") == large)
    cluster.hosts[0].worker.delete_many(["large", *data])
    eventually(lambda: cluster.hosts[2].worker.get("large") is None)


def test_a_time_to_live_ends_on_every_host(cluster):
    cluster.hosts[0].worker.set("short", 1, 0.2, ack="all")
    cluster.hosts[0].worker.set("shortened", 1, 300, ack="all")
    cluster.hosts[0].worker.set("long", 1, 300, ack="all")
    assert cluster.hosts[1].worker.touch("shortened", 0.2)
    for host in cluster.hosts:
        eventually(lambda host=host: host.worker.get_many(["short", "shortened"]) == {})
        assert host.worker.get("long") == 1


def test_clear_empties_its_own_alias_on_every_host(cluster):
    cluster.hosts[0].worker.set("kept", 1, alias="other")
    cluster.hosts[0].worker.set("gone", 1)
    cluster.hosts[1].worker.clear(ack="all")
    for host in cluster.hosts:
        assert host.worker.get("gone") is None
        eventually(lambda host=host: host.worker.get("kept", alias="other") == 1)


def test_the_status_command_tells_of_all_hosts(cluster):
    command = [sys.executable, "-m", "django", "hacache_status", "--json"]
    ran = subprocess.run(
        command, env=cluster.hosts[1].environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    status = json.loads(ran.stdout)
    assert (status["health"], status["quorum"]) == ("good", True)
    assert {host["addr"] for host in status["hosts"]} == {host.addr for host in cluster.hosts}
    assert [host["role"] for host in status["hosts"]].count("leader") == 1
    assert status["leader"]["addr"] in {host.addr for host in cluster.hosts}
    assert all(len(host["lanes"]) == 2 for host in status["hosts"])


def test_without_lanes_everything_takes_the_streams(new_cluster):
    cluster = new_cluster(CACHE_LANE_PORT="off")
    for number, host in enumerate(cluster.hosts):
        host.worker.set("key", number, ack="all")
        assert [one.worker.get("key") for one in cluster.hosts] == [number] * 3
    assert [one.lanes for one in cluster.hosts[0].status().hosts] == [(), (), ()]


@pytest.mark.parametrize("size", [1, 7])
def test_clusters_of_other_sizes_form_and_take_writes(new_cluster, size):
    cluster = new_cluster(size)
    cluster.hosts[-1].worker.set("key", size)
    eventually(lambda: cluster.hosts[0].worker.get("key") == size)


def test_a_second_node_on_the_same_directory_or_port_is_refused(cluster):
    host = cluster.hosts[0]
    command = [sys.executable, "-m", "django", "hacache_node"]
    same = subprocess.run(
        command, env=host.environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert same.returncode != 0
    assert f"process {host.node.pid}" in same.stderr
    elsewhere = [*command, "--location", f"{host.location}-second"]
    port = subprocess.run(
        elsewhere, env=host.environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert port.returncode != 0
    assert f"cannot listen on {host.addr}" in port.stderr
