"""A site's traffic on one host, as fast as it goes: what is missing is stored, some of it anew, of all sizes and ages.

The size and the time to live of a key follow from the key. Told as JSON: what happened in each second.
"""

from __future__ import annotations

import json
import random
import sys
import time
from dataclasses import asdict, dataclass, field

import django

KEYS = 50_000
POPULARITY = 0.4  # of Pareto's law: some keys are asked for again and again, most hardly ever
TTLS = (1, 3, 60, 86_400, None)
STORED_ANEW = 0.5


@dataclass
class Second:
    """What one second saw."""

    reads: int = 0
    hits: int = 0
    stored: int = 0
    failed: int = 0


@dataclass
class Told:
    """What a loader tells: `errors` by their names and first words, `wrong`: values of another key."""

    seconds: list[Second]
    errors: dict[str, int] = field(default_factory=dict)  # no Counter: asdict() would count its items
    wrong: int = 0
    slowest_s: float = 0.0


def size_of(key: str, largest: int) -> int:
    """1 to `largest`: each order of magnitude has as many keys as the next."""
    return int(largest ** (random.Random(key).random()))


class Loader:
    def __init__(self, cache, seconds: float, largest: int, seed: int) -> None:
        self._cache = cache
        self._seconds = seconds
        self._largest = largest
        self._random = random.Random(seed)
        self._data = random.Random(largest).randbytes(largest)
        self.told = Told([Second() for _ in range(int(seconds) + 1)])

    def run(self) -> None:
        began = time.monotonic()
        while (passed := time.monotonic() - began) < self._seconds:
            self._visit(self.told.seconds[int(passed)])

    def _visit(self, second: Second) -> None:
        key = f"key{int(self._random.paretovariate(POPULARITY)) % KEYS}"
        size = size_of(key, self._largest)
        found = self._cache.get(key)
        second.reads += 1
        if found is not None:
            second.hits += 1
            self.told.wrong += found != self._data[:size]
            if self._random.random() > STORED_ANEW:
                return
        begin = time.monotonic()
        try:
            self._cache.set(key, self._data[:size], random.Random(f"ttl of {key}").choice(TTLS))
        except Exception as error:  # noqa: BLE001 - whether it was a clear one is judged by who asked
            second.failed += 1
            what = f"{type(error).__name__}: {str(error)[:40]}"
            self.told.errors[what] = self.told.errors.get(what, 0) + 1
        else:
            second.stored += 1
        self.told.slowest_s = max(self.told.slowest_s, time.monotonic() - begin)


def main() -> None:
    django.setup()
    from django.core.cache import cache

    seconds, largest, seed = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    loader = Loader(cache, seconds, largest, seed)
    loader.run()
    print(json.dumps(asdict(loader.told)))


if __name__ == "__main__":
    main()
