"""`python -m benchmarks`: measures, and writes results.json, README.md and charts."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measurements import MEASUREMENTS
from benchmarks.scale import FULL, QUICK
from benchmarks.stage import Stage
from benchmarks.subprocesses import Unable


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, metavar="NAME", default=list(MEASUREMENTS))
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    results = {}
    scale = QUICK if given.quick else FULL
    with (
        tempfile.TemporaryDirectory(prefix="hacache-benchmark-", dir="/dev/shm") as directory,
        Stage(Path(directory) / "stage", scale, scale.entries) as stage,
    ):
        for name in given.only:
            began = time.monotonic()
            results[name] = MEASUREMENTS[name](stage)
            print(f"{name}: {time.monotonic() - began:.1f} s", file=sys.stderr)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    try:
        main()
    except Unable as error:
        sys.exit(f"{error}")
