"""A host with less room than the others."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from tests.cluster.conftest import eventually

VALUES = 6


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
def test_a_host_that_has_no_room_for_the_snapshot_says_so_and_ends(new_cluster):
    cluster = new_cluster()
    leader = cluster.leader()
    host, _ = cluster.others(leader)
    host.signal(signal.SIGTERM)
    host.wipe()
    for number in range(VALUES):
        leader.worker.set(str(number), "x" * 15_000_000, None)
    host.location.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m,mode=0700", "full", host.location], check=True)
    try:
        host.start()
        eventually(lambda: host.node.poll() is not None)
        assert host.node.returncode == 1
        assert "is full" in host.log.read_text()
    finally:
        host.stop()
        subprocess.run(["umount", "-l", host.location], check=True)
