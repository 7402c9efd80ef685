"""Measure django_hacache beside other caches, and write the figures, a page and charts.

A full run writes into docs/performance. One that is quick or partial would put figures there that mean little
beside those of a full run, so it writes into a new directory under the system's temporary one.
"""

from __future__ import annotations

import argparse
import datetime as dt
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import report
from benchmarks.crew import WorkerFailed
from benchmarks.facts import facts
from benchmarks.measurements import MEASUREMENTS
from benchmarks.scale import FULL, QUICK
from benchmarks.stage import Stage
from benchmarks.subprocesses import Impossible, Unable

if TYPE_CHECKING:
    from benchmarks.page import Results

PUBLISHED = Path(__file__).parent.parent / "docs" / "performance"
# Where files are memory, as the caches under test expect it.
SHARED_MEMORY = Path("/dev/shm")


def main() -> None:
    given = arguments()
    # Whoever ends this process ends everything that it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    if given.render is not None:
        report.write(given.render, report.read(given.render))
        return
    results = run(given.only or list(MEASUREMENTS), quick=given.quick)
    if given.output is None:
        partial = given.quick or given.only
        given.output = Path(tempfile.mkdtemp(prefix="benchmarks-")) if partial else PUBLISHED
    report.write(given.output, results)
    say(f"{given.output / report.PAGE}, after {results['seconds']:.0f} s")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure everything, but hardly")
    names = ", ".join(MEASUREMENTS)
    parser.add_argument(
        "--only", nargs="+", choices=MEASUREMENTS, metavar="NAME", help=f"only some measurements, of: {names}"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="where to write, in place of the above")
    parser.add_argument(
        "--render",
        type=Path,
        metavar="DIR",
        help="measure nothing, write page and charts of DIR/results.json anew",
    )
    return parser.parse_args()


def run(names: list[str], *, quick: bool) -> Results:
    """Measure, with everything started for it and ended after it."""
    scale = QUICK if quick else FULL
    results: Results = {
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "command": f"python -m benchmarks {'--quick' if quick else ''}".strip(),
        "quick": quick,
        "facts": facts(),
        "scale": asdict(scale),
        "remarks": [],
        "measurements": {},
    }
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="benchmarks-", dir=SHARED_MEMORY) as directory,
        Stage(Path(directory) / "stage", scale, scale.entries) as stage,
    ):
        for name in names:
            started = time.monotonic()
            try:
                results["measurements"][name] = MEASUREMENTS[name](stage)
            except Impossible as reason:
                results["remarks"].append(f"Not measured here: {name}. {reason}")
            say(f"{name}: {time.monotonic() - started:.1f} s")
        if stage.leader_changed():
            results["remarks"].append(
                "The leader changed during this run: what is said of its host is not right."
            )
    results["seconds"] = round(time.monotonic() - began)
    return results


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except (Unable, WorkerFailed) as error:
        sys.exit(f"{error}")
    except KeyboardInterrupt:
        sys.exit("interrupted")
