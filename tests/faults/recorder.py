"""A web worker that does random operations and notes each one with its begin, its end and its outcome.

Reads a plan (a line of JSON) from its input, works until the next line, then answers with a line and waits for
another plan. See recording.Plan for what a plan holds.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import django

from tests.faults.history import Operation

PADDING = "."


class Recorder:
    def __init__(self, cache: Any, plan: dict[str, Any]) -> None:
        self._cache = cache
        self._plan = plan
        self._random = random.Random(plan["process"])
        self._written = 0

    def run(self, stop: threading.Event) -> int:
        """Work until told to stop; returns how many operations were done."""
        plan, count = self._plan, 0
        kinds, weights = list(plan["mix"]), list(plan["mix"].values())
        due = time.monotonic()
        with Path(plan["path"]).open("w", buffering=1 << 16) as lines:
            while not stop.wait(due - time.monotonic()):
                (kind,) = self._random.choices(kinds, weights)
                lines.write(self._do(kind).to_line())
                count += 1
                # One that had to wait does not hurry afterwards.
                due = max(due + 1 / plan["rate"], time.monotonic() - 0.1)
        return count

    def _do(self, kind: str) -> Operation:
        plan = self._plan
        key, level = self._random.choice(plan["keys"]), self._random.choice(plan["levels"])
        value = None
        if kind in {"set", "add"}:
            self._written += 1
            value = f"{plan['process']}-{self._written}"
        begin = time.monotonic_ns()
        value, outcome = self._call(kind, key, value, level)
        end = time.monotonic_ns()
        return Operation(plan["process"], plan["host"], key, kind, value, begin, end, level, outcome)

    def _call(self, kind: str, key: str, value: str | None, level: str) -> tuple[str | int | None, str]:
        from django_hacache.exceptions import CacheUnavailable, OutcomeUnknown

        cache = self._cache
        try:
            if kind == "get":
                found = cache.get(key)
                return (None, "miss") if found is None else (found.rstrip(PADDING), "ok")
            if kind == "incr":
                return cache.incr(key, ack=level), "ok"
            if kind == "delete":
                cache.delete(key, ack=level)
                return None, "ok"
            data = value.ljust(self._plan["value_bytes"], PADDING)
            if kind == "add":
                return value, "ok" if cache.add(key, data, None, ack=level) else "no"
            cache.set(key, data, None, ack=level)
        except OutcomeUnknown:
            return value, "unknown"
        except CacheUnavailable:
            return value, "error"
        except ValueError:
            return value, "no"  # incr of a key that is not there
        return value, "ok"


def main() -> None:
    django.setup()
    from django.core.cache import cache

    lines: SimpleQueue[str] = SimpleQueue()
    stop = threading.Event()

    def listen() -> None:
        for line in sys.stdin:
            stop.set()
            lines.put(line)
        stop.set()
        lines.put("")

    threading.Thread(target=listen, daemon=True).start()
    while line := lines.get():
        stop.clear()
        recorder = Recorder(cache, json.loads(line))
        print(json.dumps({"begun": True}), flush=True)
        count = recorder.run(stop)
        lines.get()
        print(json.dumps({"operations": count}), flush=True)


if __name__ == "__main__":
    main()
