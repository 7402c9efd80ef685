"""A node that is started with another HA_HOSTS than the others."""

from __future__ import annotations

import signal

from tests.node_process import free_port
from tests.waiting import eventually


def test_a_node_with_another_list_of_hosts_takes_no_part_until_it_has_the_same_one(new_cluster):
    cluster = new_cluster()
    leader = cluster.leader()
    odd, other = cluster.others(leader)
    leader.worker.set("k", 1)
    same = odd.environment["HA_HOSTS"]
    odd.signal(signal.SIGTERM)
    odd.environment["HA_HOSTS"] = f"{same},http://127.0.0.1:{free_port()},http://127.0.0.1:{free_port()}"
    odd.start()
    eventually(lambda: [one.addr for one in leader.status().other_hosts] == [odd.addr])
    eventually(lambda: {one.addr for one in odd.status().other_hosts} == {leader.addr, other.addr})
    assert not odd.serves()
    leader.worker.set("k", 2)
    for host, stranger in ((leader, odd), (odd, leader)):
        assert f"{stranger.addr} takes no part: its HA_HOSTS is another one" in host.log.read_text()
    odd.signal(signal.SIGTERM)
    odd.environment["HA_HOSTS"] = same
    odd.start()
    cluster.wait()
    assert odd.worker.get("k") == 2
    assert not any(host.status().other_hosts for host in cluster.hosts)
