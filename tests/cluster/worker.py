"""A web worker of one host: does what each line of JSON on its input says, and answers with a line."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django


def main() -> None:
    django.setup()
    from django.core.cache import caches

    for line in sys.stdin:
        call = json.loads(line)
        cache = caches[call["alias"]]
        try:
            own = OWN.get(call["method"])
            if own is not None:
                answer = own(cache, *call["args"])
            else:
                answer = getattr(cache, call["method"])(*call["args"], **call["kwargs"])
            print(json.dumps({"answer": answer}), flush=True)
        except Exception as error:  # noqa: BLE001 - the test judges it
            kinds = [kind.__name__ for kind in type(error).__mro__]
            print(json.dumps({"error": kinds, "says": str(error)}), flush=True)


def fill(cache, prefix: str, stop: str) -> dict[str, object]:
    """Set one key after the other until the file `stop` exists; tells how many, and which calls failed."""
    number, failed = 0, []
    while not Path(stop).exists():
        try:
            cache.set(f"{prefix}{number}", number, None)
        except ConnectionError:
            failed.append(number)
        number += 1
    return {"count": number, "failed": failed}


def count(cache, key: str, stop: str) -> dict[str, object]:
    """Increment `key` until the file `stop` exists; tells the calls that were acknowledged, and the others."""
    acknowledged = unknown = 0
    while not Path(stop).exists():
        try:
            cache.incr(key)
            acknowledged += 1
        except ConnectionError:
            unknown += 1
    return {"acknowledged": acknowledged, "unknown": unknown}


def spin(cache, key: str, stop: str) -> list[object]:
    """All values that reads of `key` return until the file `stop` exists, in order, without repetition."""
    seen: list[object] = []
    while not Path(stop).exists():
        value = cache.get(key)
        if not seen or seen[-1] != value:
            seen.append(value)
    return seen


BATCH = 100


def _value(number: int, size: int) -> bytes:
    return random.Random(number).randbytes(size)


def store(cache, prefix: str, count: int, size: int) -> None:
    """Set that many keys to values of `size` bytes that nothing compresses."""
    for start in range(0, count, BATCH):
        numbers = range(start, min(start + BATCH, count))
        cache.set_many({f"{prefix}{number}": _value(number, size) for number in numbers}, None)


def differing(cache, prefix: str, count: int, size: int) -> int:
    """How many of what `store` has set are not there, or are not what was set."""
    return sum(cache.get(f"{prefix}{number}") != _value(number, size) for number in range(count))


OWN: dict[str, Callable[..., Any]] = {
    "fill": fill,
    "count": count,
    "spin": spin,
    "store": store,
    "differing": differing,
}

if __name__ == "__main__":
    main()
