"""Settings of every Django process of a run: BENCHMARK_CACHE is CACHES["default"], as JSON.

With BENCHMARK_BARE nothing of django_hacache is imported before the cache is asked for. BENCHMARK_MIDDLEWARE is put
before all other middleware.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent

SECRET_KEY = "only for benchmarks"
ALLOWED_HOSTS = ["*"]
DEBUG = False
USE_TZ = True
ROOT_URLCONF = "benchmarks.site.urls"

INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.sessions"]
if "BENCHMARK_BARE" not in os.environ:
    INSTALLED_APPS += ["django_hacache"]

MIDDLEWARE = [
    *os.environ.get("BENCHMARK_MIDDLEWARE", "").split(),
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "benchmarks.site.views.recognize_visitor",
    "django.middleware.common.CommonMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
    },
]

CACHES = {"default": json.loads(os.environ["BENCHMARK_CACHE"])}
SESSION_ENGINE = "django.contrib.sessions.backends.cache"

# Used by DatabaseCache only, with what a site on SQLite would set.
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("BENCHMARK_DATABASE", ":memory:"),
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        },
    },
}
