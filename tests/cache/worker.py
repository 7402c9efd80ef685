"""A web worker in miniature: `python -m tests.cache.worker OPERATION KEY COUNT`, on the site's "default"."""

from __future__ import annotations

import sys

from django.core.cache import cache


def work(operation: str, key: str, count: int) -> None:
    for number in range(count):
        if operation == "incr":
            cache.incr(key)
        elif operation == "float":
            cache.incr(key, 0.5)
        elif operation == "add":
            if cache.add(f"{key}{number}", True):
                cache.incr(key)
        else:
            cache.set(f"{key}{number}", bytes(number * 100), 0.01 if number % 2 else None)


if __name__ == "__main__":
    work(sys.argv[1], sys.argv[2], int(sys.argv[3]))
