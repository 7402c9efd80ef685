"""Hosts with a network between them that takes time, whatever the kernel has for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from benchmarks import network as networks
from benchmarks.network import Netem, Network, Queue
from benchmarks.places import Place
from benchmarks.subprocesses import Impossible
from tests.faults.network import CommandFailed

ECHO = """
import socket, sys
with socket.create_server(("0.0.0.0", 9)) as server:
    print("ready", flush=True)
    connection, _ = server.accept()
    while data := connection.recv(100_000):
        connection.sendall(data)
"""
ASK = """
import socket, sys, time
with socket.create_connection((sys.argv[1], 9)) as connection:
    for _ in range(5):
        began = time.monotonic_ns()
        connection.sendall(b"x")
        connection.recv(1)
        print(time.monotonic_ns() - began)
"""
ONE_WAY_US = 3000


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    try:
        made = Network()
    except Impossible as reason:
        if os.environ.get("HACACHE_REQUIRE_ALL_TESTS"):
            pytest.fail(str(reason))
        pytest.skip(str(reason))
    with made:
        yield made


def round_trips_ns(here: Place, there: Place) -> list[int]:
    with subprocess.Popen(there.command(sys.executable, "-c", ECHO), stdout=subprocess.PIPE) as echo:
        try:
            assert echo.stdout is not None
            echo.stdout.readline()
            told = subprocess.check_output(here.command(sys.executable, "-c", ASK, there.ip), timeout=20)
        finally:
            echo.kill()
    return [int(line) for line in told.split()]


def test_a_packet_takes_its_time_both_ways(network: Network) -> None:
    network.delay(ONE_WAY_US)
    first, second, _ = network.places
    for taken in (round_trips_ns(first, second), round_trips_ns(second, first)):
        assert len(taken) == 5
        assert min(taken) >= 2 * ONE_WAY_US * 1000


def test_within_a_host_nothing_is_delayed(network: Network) -> None:
    """A second is what ten thousand round trips took across the network."""
    network.delay(1_000_000)
    first = network.places[0]
    assert min(round_trips_ns(first, first)) < 1_000_000_000


def test_another_delay_replaces_the_one_before(network: Network) -> None:
    network.delay(1_000_000)
    network.delay(ONE_WAY_US)
    first, _, third = network.places
    assert min(round_trips_ns(first, third)) < 1_000_000_000


def test_without_netem_a_process_makes_the_delay(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    class Missing(Netem):
        def __init__(self, *_: object) -> None:
            raise CommandFailed("no such thing")

    monkeypatch.setattr(networks, "Netem", Missing)
    delay = network.delay(ONE_WAY_US)
    assert isinstance(delay, Queue)
    first, second, _ = network.places
    assert min(round_trips_ns(first, second)) >= 2 * ONE_WAY_US * 1000
    assert delay.cpu_seconds() >= 0
