"""Watches the nodes of a cluster while something is done to them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from django_hacache.exceptions import HACacheError
from tests.faults.cluster import Cluster, Host

EVERY_S = 0.2


class Sample(NamedTuple):
    """The health of the cluster as a node saw it; "gone" where none answered."""

    at_ns: int
    addr: str
    health: str


class Band(NamedTuple):
    """A fault, from its beginning to its end."""

    begin_ns: int
    end_ns: int
    what: str


class Observer:
    """Samples of every host, one thread each, and the faults that were noted."""

    def __init__(self, cluster: Cluster) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._watch, args=(host,)) for host in cluster.hosts]
        self.samples: list[Sample] = []
        self.bands: list[Band] = []

    def _watch(self, host: Host) -> None:
        while not self._stop.wait(EVERY_S):
            asked = time.monotonic_ns()
            try:
                health = host.status(1.5).health or "gone"
            except HACacheError:
                health = "gone"
            self.samples.append(Sample(asked, host.addr, health))

    @contextmanager
    def watching(self) -> Iterator[Observer]:
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()

    @contextmanager
    def fault(self, what: str) -> Iterator[None]:
        begin = time.monotonic_ns()
        try:
            yield
        finally:
            self.bands.append(Band(begin, time.monotonic_ns(), what))
