"""A run that was killed leaves nothing that stands in the way of the next."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

from tests.clusters import PYTHON, ROOT
from tests.faults import laboratory, network

# One that is killed with its cluster running, and with a file system mounted in one of its directories.
KILLED = """
import os, signal
from tests.faults.laboratory import laboratory
from tests.faults.network import run
with laboratory() as (cluster, recorders):
    location = cluster.hosts[0].location
    mount = location.parent / "mounted"
    mount.mkdir()
    run("mount", "-t", "tmpfs", "faults", str(mount))
    print(*(host.node.pid for host in cluster.hosts), location.parent, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def running(pid):
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_what_a_killed_run_left_is_removed_by_the_next(cluster):
    with subprocess.Popen([*PYTHON[:1], "-c", KILLED], cwd=ROOT, stdout=subprocess.PIPE, text=True) as killed:
        *pids, directory = killed.stdout.readline().split()
    assert killed.returncode == -signal.SIGKILL
    assert all(running(pid) for pid in pids)
    laboratory.remove_leftovers()
    network.remove_leftovers()
    deadline = time.monotonic() + 10
    while any(running(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(running(pid) for pid in pids)
    assert not Path(directory).exists()
    assert f"hacache-{killed.pid}-" not in network.run("ip", "netns", "list")
    assert all(host.serves() for host in cluster.hosts)
