"""A host with less room than the others."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

VALUES = 20
VALUE_BYTES = 1_000_000


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
def test_a_host_that_has_less_room_than_the_others_keeps_what_fits_and_goes_on(new_cluster):
    cluster = new_cluster()
    leader = cluster.leader()
    host, _ = cluster.others(leader)
    host.signal(signal.SIGTERM)
    host.wipe()
    for number in range(VALUES):
        leader.worker.set(str(number), "x" * VALUE_BYTES, None)
    host.location.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "full", host.location], check=True)
    try:
        host.start()
        cluster.wait([host])
        for number in range(VALUES, 2 * VALUES):
            leader.worker.set(str(number), "x" * VALUE_BYTES, None, ack="all")
            assert host.worker.get(str(number)) == "x" * VALUE_BYTES
        assert host.worker.get("0") is None
        assert leader.worker.get("0") == "x" * VALUE_BYTES
        assert "is full" in host.log.read_text()
        assert host.node.poll() is None
    finally:
        host.stop()
        subprocess.run(["umount", "-l", host.location], check=True)
