"""Settings of one host of a test cluster; everything that differs comes from the environment."""

from __future__ import annotations

import os
from typing import Any

SECRET_KEY = "for tests"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django_hacache"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
USE_TZ = True
_BACKEND = {
    "BACKEND": "django_hacache.cache.HACache",
    "LOCATION": os.environ["HACACHE_TEST_LOCATION"],
}
CACHES: dict[str, dict[str, Any]] = {
    "default": _BACKEND,
    "other": {**_BACKEND, "KEY_PREFIX": "other"},
    "hasty": {**_BACKEND, "OPTIONS": {"WRITE_TIMEOUT": 0.5}},
    "ignoring": {**_BACKEND, "OPTIONS": {"WRITE_TIMEOUT": 0.5, "IGNORE_EXCEPTIONS": True}},
}
