"""Frames that come twice, in another order, or again long after, also from a process that is gone."""

from __future__ import annotations

import json
import signal
import subprocess
from contextlib import contextmanager

from tests.clusters import PYTHON, ROOT
from tests.faults.cluster import LANE_PORT
from tests.faults.consistency import miscounted
from tests.faults.judge import assert_kept_its_promises, lasting
from tests.faults.recording import COUNTING, READING, WRITING
from tests.waiting import eventually

PROXY_PORT = 7201


@contextmanager
def replayers(cluster):
    """All lanes lead through them while the block runs; yields what they did, once it has run."""
    started, done = [], []
    for number, machine in enumerate(cluster.network.machines):
        arguments = [str(number), str(PROXY_PORT), machine.ip, str(LANE_PORT)]
        command = machine.inside(*PYTHON, "tests.faults.replayer", *arguments)
        started.append(
            subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        assert started[-1].stdout.readline() == "listening\n"
        cluster.network.redirect(machine, LANE_PORT, PROXY_PORT)
    try:
        # What is open already goes the old way.
        cluster.network.cut_port(LANE_PORT)
        eventually(lambda: cluster.lanes() == [0] * len(started))
        cluster.network.stop_dropping()
        eventually(lambda: cluster.lanes() == [len(started) - 1] * len(started))
        yield done
    finally:
        cluster.network.heal()
        done += [json.loads(process.communicate()[0]) for process in started]


def test_frames_that_come_twice_out_of_order_or_long_after_change_nothing(cluster, recorders):
    first, _, third = cluster.hosts
    first.worker.set("counter", 0, None)
    with replayers(cluster) as done, recorders.running(COUNTING, READING, WRITING) as history:
        lasting(0.6)
        # The frames of the incarnation that ends here come again in the life of the next.
        third.signal(signal.SIGKILL)
        # Its workers may read on in the directory that is removed, until the lease is over.
        eventually(lambda: not third.serves())
        third.wipe()
        third.start()
        cluster.wait()
        lasting(0.6)
    assert all(one["twice"] and one["swapped"] and one["replayed"] for one in done)
    counted = [one for one in history if one.kind == "incr"]
    end = eventually(lambda: first.worker.incr("counter", 0))
    assert miscounted(counted, 0, end) == []
    assert_kept_its_promises(cluster, [one for one in history if one.kind != "incr"])
