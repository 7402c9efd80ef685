"""A cluster at its SIZE_LIMIT, with traffic as fast as it goes and values of all sizes and ages."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from django_hacache.node.evaluation.gate import most_of
from django_hacache.replica.eviction import map_size_for
from django_hacache.replica.pair import FILE_NAME
from tests.clusters import PYTHON, ROOT
from tests.faults.cluster import Cluster, Host
from tests.faults.course import Course, Sample, svg
from tests.faults.measurements.rows import MIB, Drawn, Measure, Row, grown, none, percent, places, unchanged
from tests.faults.network import run
from tests.faults.recording import Recorders

SECONDS = 600
SIZE_LIMIT = 64 * MIB
LIMITED = {"HACACHE_TEST_SIZE_LIMIT": str(SIZE_LIMIT)}
LARGEST = 8 * MIB
SMALL_SHM = "64m"
SMALL_LARGEST = 4 * MIB
SAMPLE_S = 0.5
# What a caller has to expect from a cache that is busy, and is told that the change did not happen.
CLEAR = ("CacheBusy: ",)
GROWTH = 64 * MIB
KEPT_RATE = 0.8


def at_the_limit(largest: int, *, small: bool) -> Measure:
    """Measure with values up to `largest` bytes; `small`: on 64 MB of shared memory."""

    def measure(cluster: Cluster, recorders: Recorders, scale: float) -> list[Row]:
        with small_shared_memory(cluster) if small else nullcontext():
            return _measure(cluster, max(SECONDS * scale, 10), largest, small=small)

    return measure


@contextmanager
def small_shared_memory(cluster: Cluster) -> Iterator[None]:
    """Every host's directory on a file system of its own that is as large as a container's."""
    cluster.stop()
    for host in cluster.hosts:
        host.wipe()
        host.location.mkdir(mode=0o700)
        run("mount", "-t", "tmpfs", "-o", f"size={SMALL_SHM},mode=0700", "faults", str(host.location))
    try:
        cluster.start()
        yield
    finally:
        cluster.stop()
        for host in cluster.hosts:
            run("umount", "-l", str(host.location))


def _measure(cluster: Cluster, seconds: float, largest: int, *, small: bool) -> list[Row]:
    before = places(cluster)
    with sampled(cluster) as samples:
        told = _loaded(cluster, seconds, largest)
    course = Course(samples, _together(told), SIZE_LIMIT)
    errors = Counter[str]()
    for one in told:
        errors.update(one["errors"])
    unclear = {what: count for what, count in errors.items() if not what.startswith(CLEAR)}
    stored = sum(second["stored"] for second in course.seconds)
    quarter = len(course.seconds) // 4
    earlier_rate = hit_rate(course.seconds[quarter : 2 * quarter])
    last_rate = hit_rate(course.seconds[3 * quarter :])
    files = max((sample.file for sample in samples), default=0)
    most = map_size_for(SIZE_LIMIT) if not small else 64 * MIB
    what = (
        f"{seconds:.0f} s at SIZE_LIMIT ({SIZE_LIMIT // MIB} MiB), values of 1 B to {largest // MIB} MiB that live "
        f"a second to for ever, {stored:,} writes as fast as they go"
        + (", 64 MB of shared memory" if small else "")
    )
    memory = [sample.memory for sample in samples if sample.at > seconds / 2]
    earlier = [sample.memory for sample in samples if seconds / 4 < sample.at <= seconds / 2]
    slowest = max(one["slowest_s"] for one in told)
    rows = Drawn(
        [
            none(f"{what}: nodes that ended", sum(not host.running for host in cluster.hosts)),
            Row(
                f"{what}: the largest file (the limit of writers is {most_of(SIZE_LIMIT) // MIB} MiB of one cache)",
                f"up to {most // MIB} MiB",
                f"{files // MIB} MiB",
                files <= most,
            ),
            none(
                f"{what}: writes that failed without a clear error ({sum(errors.values()) - sum(unclear.values())} "
                f"with one; the slowest took {slowest:.1f} s)",
                sum(unclear.values()),
            ),
            none(f"{what}: reads of a wrong value", sum(one["wrong"] for one in told)),
            Row(
                f"{what}: hit rate of the last quarter",
                f"{percent(KEPT_RATE)} of that of the second ({percent(earlier_rate)})",
                percent(last_rate),
                last_rate >= KEPT_RATE * earlier_rate,
            ),
            grown(
                f"{what}: growth of a node's own memory in the second half",
                max(max(memory, default=0) - max(earlier, default=0), 0),
                GROWTH,
            ),
            unchanged(what, before, places(cluster)),
        ]
    )
    rows.picture = svg(course, f"Three hosts at SIZE_LIMIT{', 64 MB of shared memory' if small else ''}")
    if unclear:
        print(unclear, flush=True)
    return rows


def hit_rate(seconds: list[dict[str, int]]) -> float:
    return sum(one["hits"] for one in seconds) / max(sum(one["reads"] for one in seconds), 1)


def _loaded(cluster: Cluster, seconds: float, largest: int) -> list[dict]:
    """One loader on each host; what they told."""
    loaders = [
        subprocess.Popen(
            [*PYTHON, "tests.faults.loader", str(seconds), str(largest), str(seed)],
            env=host.environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed, host in enumerate(cluster.hosts)
    ]
    try:
        return [json.loads(loader.communicate()[0]) for loader in loaders]
    finally:
        for loader in loaders:
            loader.kill()
            loader.wait()


def _together(told: list[dict]) -> list[dict[str, int]]:
    """The seconds of all hosts, one beside the other."""
    seconds = zip(*(one["seconds"] for one in told), strict=True)
    return [{name: sum(one[name] for one in each) for name in each[0]} for each in seconds][:-1]


@contextmanager
def sampled(cluster: Cluster) -> Iterator[list[Sample]]:
    """What each host's node holds, all the time."""
    samples: list[Sample] = []
    over, began = threading.Event(), time.monotonic()

    def sample(number: int, host: Host) -> None:
        if host.running:
            size = (host.location / FILE_NAME).stat().st_size
            samples.append(Sample(time.monotonic() - began, number, size, host.memory_bytes()))

    def go_on() -> None:
        while not over.wait(SAMPLE_S):
            for number, host in enumerate(cluster.hosts):
                sample(number, host)

    sampler = threading.Thread(target=go_on)
    sampler.start()
    try:
        yield samples
    finally:
        over.set()
        sampler.join()
