"""Settings with many aliases that share one location; also what a node of these tests is started with."""

from __future__ import annotations

import os
from typing import Any

from tests.settings import *  # noqa: F403

BACKEND = "django_hacache.cache.HACache"
SIGNING_KEYS = ["the key that signs, for tests only", "a former key that verifies, for tests"]


def key_of_ours(key: str, prefix: str, version: int) -> str:
    return f"ours/{version}/{prefix}/{key}"


def cache_settings(location: str) -> dict[str, dict[str, Any]]:
    def entry(**settings: Any) -> dict[str, Any]:
        return {"BACKEND": BACKEND, "LOCATION": location, **settings}

    return {
        "default": entry(),
        "twin": entry(),  # word for word like "default"
        "view": entry(VERSION=2, OPTIONS={"CACHE_NAME": "default"}),
        "prefixed": entry(KEY_PREFIX="site"),
        "second": entry(VERSION=2),
        "own keys": entry(KEY_FUNCTION="tests.cache.site.key_of_ours"),
        "forever": entry(TIMEOUT=None),
        "gone": entry(TIMEOUT=0),
        "small": entry(OPTIONS={"MAX_VALUE_SIZE": 10_000}),
        "ignoring": entry(OPTIONS={"IGNORE_EXCEPTIONS": True, "WRITE_TIMEOUT": 0.1}),
        "silent": entry(
            OPTIONS={"IGNORE_EXCEPTIONS": True, "LOG_IGNORED_EXCEPTIONS": False, "WRITE_TIMEOUT": 0.1}
        ),
        "hasty": entry(OPTIONS={"WRITE_TIMEOUT": 0.1}),
        "patient": entry(OPTIONS={"WRITE_TIMEOUT": 3600}),
        "direct": entry(OPTIONS={"ACK_LEVEL": "direct"}),
        "signed": entry(OPTIONS={"SIGNING_KEYS": SIGNING_KEYS}),
        "signed view": entry(KEY_PREFIX="site", VERSION=2, OPTIONS={"CACHE_NAME": "signed"}),
        "signed too": entry(OPTIONS={"SIGNING_KEYS": SIGNING_KEYS}),
    }


if "HACACHE_TEST_LOCATION" in os.environ:
    CACHES = cache_settings(os.environ["HACACHE_TEST_LOCATION"])
