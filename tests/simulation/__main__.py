"""Live many random lives: `python -m tests.simulation --seeds 10000`. A seed that fails replays exactly."""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from functools import partial
from multiprocessing import Pool

from .life import Result, live
from .shrink import shrink


def attempt(seed: int, duration: int, tails: bool) -> Result | str:
    try:
        return live(seed, duration, tails=tails)
    except Exception:  # noqa: BLE001
        return f"seed {seed}: {traceback.format_exc(limit=-4)}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many lives")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="one life only")
    parser.add_argument("--duration", type=int, default=30_000, help="simulated milliseconds of each life")
    parser.add_argument(
        "--tails", action="store_true", help="in every life, some messages take several election timeouts"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--trace", action="store_true", help="print the events of --seed")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        print(live(arguments.seed, arguments.duration, tails=arguments.tails, tracing=arguments.trace))
        return 0
    return many(arguments)


def many(arguments: argparse.Namespace) -> int:
    began = time.monotonic()
    failed: list[str] = []
    total: dict[str, int] = {}
    seeds = range(arguments.start, arguments.start + arguments.seeds)
    with Pool(arguments.jobs) as pool:
        lives = pool.imap_unordered(
            partial(attempt, duration=arguments.duration, tails=arguments.tails), seeds, chunksize=5
        )
        for outcome in lives:
            if isinstance(outcome, str):
                failed.append(outcome)
                print(outcome, flush=True)
                continue
            for name in Result.__slots__[1:]:
                total[name] = total.get(name, 0) + getattr(outcome, name)
    seconds = time.monotonic() - began
    print(
        f"{len(seeds)} lives of {arguments.duration / 1000:g} s in {seconds:.1f} s with {arguments.jobs} jobs: "
    )
    print(", ".join(f"{value} {name}" for name, value in total.items()))
    if failed:
        seed = int(failed[0].split(":")[0].removeprefix("seed "))
        print(f"{len(failed)} failed. Replay one, with its events:")
        tails = " --tails" if arguments.tails else ""
        print(f"python -m tests.simulation --seed {seed} --duration {arguments.duration}{tails} --trace")
        print("The same one as a test, shrunk to what it takes:\n")
        print(shrink(seed, arguments.duration, tails=arguments.tails).as_test())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
