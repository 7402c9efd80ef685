"""The rules that the documents give for a firewall: they load, and let in whom they name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.clusters import ROOT
from tests.faults.network import Network, why_impossible
from tests.waiting import eventually

LISTEN = (
    "import socket, time\n"
    "ends = [socket.create_server(('', port)) for port in (7001, 7002)]\n"
    "print('listening', flush=True)\n"
    "time.sleep(600)"
)
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1)"


@pytest.fixture
def network():
    reason = why_impossible() or (None if shutil.which("nft") else "not installed: nft")
    if reason is not None:
        if os.environ.get("HACACHE_REQUIRE_ALL_TESTS"):
            pytest.fail(reason)
        pytest.skip(reason)
    network = Network(3)
    yield network
    network.remove()


def reaches(machine, target, port):
    command = machine.inside(sys.executable, "-c", CONNECT, target.ip, str(port))
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def test_the_firewall_of_the_documents_lets_in_hosts_and_clients_and_nobody_else(network):
    node, other, client = network.machines
    text = (ROOT / "docs" / "how-to" / "deploy.md").read_text()
    (rules,) = re.findall(r"```nft\n(.*?)```", text, re.DOTALL)
    for named, actual in {"192.0.2.11": node.ip, "192.0.2.12": other.ip, "192.0.2.40": client.ip}.items():
        assert named in rules
        rules = rules.replace(named, actual)
    subprocess.run(node.inside("nft", "-f", "-"), input=rules, text=True, check=True)
    server = subprocess.Popen(node.inside(sys.executable, "-c", LISTEN), stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout.readline() == "listening\n"
        eventually(lambda: reaches(node, node, 7001))
        found = {
            (name, port): reaches(machine, node, port)
            for name, machine in {"host": other, "client": client, "stranger": network.outside}.items()
            for port in (7001, 7002)
        }
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    assert found == {
        ("host", 7001): True,
        ("host", 7002): True,
        ("client", 7001): True,
        ("client", 7002): False,
        ("stranger", 7001): False,
        ("stranger", 7002): False,
    }
