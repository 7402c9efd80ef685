"""A host whose shared memory is full, or whose files are broken."""

from __future__ import annotations

import random
import signal
from contextlib import contextmanager

import pytest

from django_hacache.replica.pair import FILE_NAME
from tests.faults.judge import assert_kept_its_promises, failed, no_change_of_leader, writes
from tests.faults.network import run
from tests.waiting import eventually

SMALL = "48m"
PAGE_BYTES = 4096
CRASHES = {-signal.SIGBUS, -signal.SIGSEGV, -signal.SIGABRT, -signal.SIGILL}


@contextmanager
def small_tmpfs(host):
    """The host's directory on a small file system of its own, empty at first; a plain one again afterwards."""
    host.signal(signal.SIGTERM)
    host.wipe()
    host.location.mkdir(mode=0o700)
    run("mount", "-t", "tmpfs", "-o", f"size={SMALL},mode=0700", "faults", str(host.location))
    try:
        yield
    finally:
        if host.running:
            host.signal(signal.SIGTERM)
        run("umount", "-l", str(host.location))


def fill(path):
    """Write until nothing more fits."""
    with path.open("wb", buffering=0) as ballast, pytest.raises(OSError, match="No space left"):
        while True:
            ballast.write(bytes(1 << 16))


def test_a_full_file_system_under_one_host_stops_that_host_alone(cluster, recorders):
    leader = cluster.leader()
    host, other = cluster.others(leader)
    with small_tmpfs(host):
        host.start()
        cluster.wait()
        with recorders.running(hosts=[leader, other]) as history, no_change_of_leader(cluster):
            ballast = host.location / "ballast"
            fill(ballast)
            for number in range(40):
                other.worker.set(f"large{number}", "x" * 100_000, None)
            eventually(lambda: "is full" in host.log.read_text())
            eventually(lambda: host.worker.get("large0") is None)
            other.worker.set("probe", "after", ack="all")
            ballast.unlink()
            if not host.running:
                assert host.node.returncode not in CRASHES
                host.start()
            eventually(lambda: host.worker.get("probe") == "after")
        assert failed(history) == []
    assert_kept_its_promises(cluster, history)


def everything(data):
    return random.Random(1).randbytes(len(data))


def every_second_page_but_the_first(data):
    """What LMDB checks when it opens the file is whole, what it reads later is not."""
    noise = random.Random(2)
    pages = [data[at : at + PAGE_BYTES] for at in range(0, len(data), PAGE_BYTES)]
    return b"".join(
        noise.randbytes(len(page)) if number > 1 and number % 2 else page for number, page in enumerate(pages)
    )


def the_end_is_missing(data):
    return data[: len(data) // 2]


def break_replica(host, damage):
    """Put a broken file in the place of the replica's. Not into it: no program survives the loss of mapped memory."""
    data = host.location / FILE_NAME
    broken = data.with_suffix(".tmp")
    broken.write_bytes(damage(data.read_bytes()))
    broken.chmod(0o600)
    broken.replace(data)


@pytest.fixture
def cluster(cluster):
    """What a scenario has left broken does not stand in the way of the next."""
    yield cluster
    for host in cluster.hosts:
        if not host.serves():
            host.stop_node()
            host.wipe()


@pytest.mark.parametrize("damage", [everything, every_second_page_but_the_first, the_end_is_missing])
def test_a_node_whose_files_are_broken_starts_over_or_says_so(cluster, recorders, damage):
    with recorders.running() as history, no_change_of_leader(cluster) as leader:
        host, other = cluster.others(leader)
        other.worker.set_many({f"filler{number}": "x" * 1000 for number in range(500)}, None)
        host.signal(signal.SIGTERM)
        data = host.location / FILE_NAME
        data.write_bytes(damage(data.read_bytes()))
        host.start()
        eventually(lambda: host.serves() or not host.running)
        if not host.running:
            # It refuses: an operator reads why, and gives it an empty directory.
            assert host.node.returncode not in CRASHES
            assert str(host.location) in host.log.read_text()
            host.wipe()
            host.start()
        other.worker.set("probe", damage.__name__, ack="all")
        eventually(lambda: host.worker.get("probe") == damage.__name__)
        assert host.worker.get("filler499") == "x" * 1000
    assert failed(writes(history, [leader, other])) == []
    assert_kept_its_promises(cluster, history)
