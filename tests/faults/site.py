"""The settings of the test clusters' hosts, with logs whose times can be compared with those of a history."""

from __future__ import annotations

import os

from tests.cluster.site import *  # noqa: F403
from tests.cluster.site import CACHES

if "HACACHE_TEST_SIZE_LIMIT" in os.environ:
    CACHES["default"] = {
        **CACHES["default"],
        "OPTIONS": {"SIZE_LIMIT": os.environ["HACACHE_TEST_SIZE_LIMIT"]},
    }

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"exact": {"format": "%(created).6f %(levelname)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "exact"}},
    "loggers": {"django_hacache": {"handlers": ["stderr"], "level": "INFO"}},
}
