"""Runs a harness under atheris, which looks for inputs that reach new code: `python -m tests.fuzz NAME`.

An input that is a crash stays in the directory --crashes: put it into corpus/NAME with a name that says what it was.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import sys
import traceback
from pathlib import Path

import atheris

CORPUS = Path(__file__).parent / "corpus"
INPUT_BYTES_MAX = 1 << 16


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    with atheris.instrument_imports(include=["django_hacache"]):
        import django

        django.setup()
        from .harnesses import HARNESSES
    arguments = parsed(sorted(HARNESSES))
    # What a node has to say of each lie takes longer than the lie.
    logging.disable(logging.CRITICAL)
    harness = HARNESSES[arguments.harness]
    found = Path(arguments.found or f".fuzz/{arguments.harness}")
    found.mkdir(parents=True, exist_ok=True)
    crashes = Path(arguments.crashes or ".fuzz")
    run = Kinds(harness.run, crashes, arguments.harness) if arguments.keep_going else harness.run
    options = [
        sys.argv[0],
        f"-seed={arguments.seed}",
        f"-max_len={INPUT_BYTES_MAX}",
        f"-artifact_prefix={crashes}/{arguments.harness}-",
        "-timeout=60",
        "-rss_limit_mb=4096",
        "-print_final_stats=1",
    ]
    if arguments.runs:
        options.append(f"-runs={arguments.runs}")
    if arguments.time:
        options.append(f"-max_total_time={arguments.time}")
    options += [str(found), str(CORPUS / arguments.harness)]

    def blindly(data):
        return atheris.Mutate(data, max(len(data) + 64, 64))

    def mutated(data, max_size, seed):
        return harness.mutated(data, random.Random(seed), blindly)[:max_size]

    atheris.Setup(options, run, custom_mutator=mutated)
    atheris.Fuzz()


class Kinds:
    """Goes on after what breaks: keeps one input of each kind, and tells of it."""

    def __init__(self, run, directory, name):
        self._run = run
        self._directory = directory
        self._name = name
        self._seen = set()

    def __call__(self, data):
        try:
            self._run(data)
        except Exception as error:  # noqa: BLE001 - whatever it is
            frame = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__}-{Path(frame.filename).stem}-{frame.lineno}"
            if kind not in self._seen:
                self._seen.add(kind)
                (self._directory / f"{self._name}-{kind}").write_bytes(data)
                print(
                    f"BROKEN {kind}: {error}", *traceback.format_tb(error.__traceback__)[-4:], file=sys.stderr
                )


def parsed(names) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("harness", choices=names)
    parser.add_argument("--runs", type=int, help="end after so many inputs")
    parser.add_argument("--time", type=int, help="end after so many seconds")
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    parser.add_argument("--found", help="the directory of inputs that reached something new (.fuzz/NAME)")
    parser.add_argument("--crashes", help="the directory of inputs that broke something (.fuzz)")
    parser.add_argument("--keep-going", action="store_true", help="keep one input of each kind, and go on")
    return parser.parse_args()


if __name__ == "__main__":
    main()
