"""Measures what faults do to a cluster: `python -m tests.faults --report docs/`. Needs root, and about an hour."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from pathlib import Path

PICTURE = "picture"


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    from tests.faults import report, timeline
    from tests.faults.measurements import MEASUREMENTS
    from tests.faults.network import why_impossible

    names = [*MEASUREMENTS, PICTURE]
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--report", type=Path, metavar="DIR", help="write the table and the picture there")
    parser.add_argument("--only", metavar="NAME,...", help=f"some of: {', '.join(names)}")
    parser.add_argument("--scale", type=float, default=1.0, help="how long, and how often (default: 1)")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",") if arguments.only else names
    if unknown := set(chosen) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if reason := why_impossible():
        print(f"Not possible here: {reason}", file=sys.stderr)
        return 2
    return measure(chosen, arguments.scale, arguments.report, report, timeline)


def measure(chosen, scale, directory, report, timeline) -> int:
    """Each on a cluster of its own; what is measured is written at once. 1 where something was missed or broken."""
    from tests.faults import mixed
    from tests.faults.laboratory import laboratory
    from tests.faults.measurements import MEASUREMENTS
    from tests.faults.measurements.rows import Drawn

    right = True
    for name in chosen:
        measurement = MEASUREMENTS.get(name)
        made = laboratory(measurement.hosts, measurement.environment) if measurement else laboratory()
        with made as (cluster, recorders):
            try:
                if measurement is None:
                    picture = timeline.svg(mixed.run(cluster, recorders))
                    if directory is not None:
                        (directory / report.PICTURE).write_text(picture)
                    continue
                results = {name: measurement.measure(cluster, recorders, scale)}
            except Exception:  # noqa: BLE001 - the others are measured all the same
                print(f"{name}: BROKEN", traceback.format_exc(), sep="\n", flush=True)
                print(*(host.tell()[-1500:] for host in cluster.hosts), sep="\n", flush=True)
                right = False
                continue
        print(*report.told(results), sep="\n", flush=True)
        right = right and all(row.met for row in results[name])
        if directory is not None:
            report.write(directory, results)
            drawn = results[name]
            if isinstance(drawn, Drawn):
                (directory / report.picture_of(name)).write_text(drawn.picture)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
