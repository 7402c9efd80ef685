"""Tells what the cache of this process costs it at the start: run anew for each sample."""

from __future__ import annotations

import json
import time
from importlib import import_module

from django.conf import settings
from django.core.cache import cache, caches
from django.core.wsgi import get_wsgi_application

from benchmarks import proc


def main() -> None:
    get_wsgi_application()
    before = proc.rollup("self")
    began = time.perf_counter()
    if settings.CACHES["default"]["BACKEND"].startswith("django_hacache."):
        # The site's list of apps leaves it out here, so that Django has not imported it yet.
        import_module("django_hacache.apps")
    caches["default"]
    imported = time.perf_counter()
    cache.set("key", "value")
    cache.get("key")
    used = time.perf_counter()
    after = proc.rollup("self")
    print(
        json.dumps(
            {
                "import_ms": (imported - began) * 1000,
                "first_use_ms": (used - imported) * 1000,
                "resident_mb": (after["Rss"] - before["Rss"]) / 1e6,
                "private_mb": (_private(after) - _private(before)) / 1e6,
            }
        )
    )


def _private(seen: dict[str, int]) -> int:
    return seen["Private_Clean"] + seen["Private_Dirty"]


if __name__ == "__main__":
    main()
