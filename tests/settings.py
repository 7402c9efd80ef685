"""The smallest site that uses the whole package: the admin, sessions and one cache.

HACACHE_TEST_LOCATION names the cache's directory, so that processes started by a test share it with the test.
Without it the directory is new: a test run never touches the cache of a site on this machine.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent


def _cache_location() -> str:
    given = os.environ.get("HACACHE_TEST_LOCATION")
    if given:
        return given
    made = tempfile.mkdtemp(prefix="hacache-test-")
    atexit.register(_remove, made, os.getpid())
    return made


def _remove(directory: str, maker: int) -> None:
    # Forked children inherit the exit handler; only the process that made the directory may remove it.
    if os.getpid() == maker:
        shutil.rmtree(directory, ignore_errors=True)


SECRET_KEY = "only for tests"
ALLOWED_HOSTS = ["*"]
DEBUG = False
USE_TZ = True
STATIC_URL = "static/"
ROOT_URLCONF = "tests.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django_hacache",
]

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
CACHES = {
    "default": {"BACKEND": "django_hacache.cache.HACache", "LOCATION": _cache_location()},
}
