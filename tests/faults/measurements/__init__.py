"""What `make faults` measures: each function does one kind of fault for long enough, and returns rows of the report.

Every measurement also judges its history: a broken promise is a failure, whatever the numbers say.
"""

from __future__ import annotations

from tests.faults.measurements import (
    clocks,
    joiners,
    leaders,
    limits,
    links,
    pauses,
    restarts,
    soak,
    transfers,
)
from tests.faults.measurements.rows import Measurement
from tests.faults.wall_clock import OWN_CLOCKS

MEASUREMENTS: dict[str, Measurement] = {
    "kill": Measurement(leaders.kill),
    "stop": Measurement(leaders.stop),
    "partition": Measurement(leaders.partition),
    "loss5": Measurement(links.losing(0.05, 0.999)),
    "loss10": Measurement(links.losing(0.10, 0.999)),
    "loss20": Measurement(links.losing(0.20, 0.99)),
    "flapping": Measurement(links.flapping),
    "isolated": Measurement(links.cut_off("is cut off", "isolate")),
    "deaf": Measurement(links.cut_off("hears nobody", "deafen")),
    "silent": Measurement(links.cut_off("is heard by nobody", "silence")),
    "five": Measurement(links.omission, hosts=5),
    "rolling": Measurement(restarts.rolling),
    "handover": Measurement(restarts.handover),
    "incr": Measurement(restarts.incr),
    "all": Measurement(pauses.frozen_all),
    "slow": Measurement(links.slow),
    "pause": Measurement(pauses.pause),
    "majority": Measurement(restarts.majority),
    "clock": Measurement(clocks.clock, environment=OWN_CLOCKS),
    "snapshot": Measurement(transfers.snapshot, environment=transfers.LARGE),
    "joiner1000": Measurement(joiners.joining(1000, 200_000_000), environment=joiners.LIMITED),
    "joiner100": Measurement(joiners.joining(100, 200_000_000), environment=joiners.LIMITED),
    "joiner20": Measurement(joiners.joining(20, 200_000_000), environment=joiners.LIMITED),
    # A small state: 200 MB would take half an hour.
    "joiner1": Measurement(joiners.joining(1, 10_000_000), environment=joiners.LIMITED),
    "limit": Measurement(limits.at_the_limit(limits.LARGEST, small=False), environment=limits.LIMITED),
    "limit64": Measurement(limits.at_the_limit(limits.SMALL_LARGEST, small=True), environment=limits.LIMITED),
    "quiet": Measurement(pauses.quiet),
    "soak": Measurement(soak.soak),
}
