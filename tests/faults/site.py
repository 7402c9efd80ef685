"""The settings of the test clusters' hosts, with logs whose times can be compared with those of a history."""

from __future__ import annotations

from tests.cluster.site import *  # noqa: F403

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"exact": {"format": "%(created).6f %(levelname)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "exact"}},
    "loggers": {"django_hacache": {"handlers": ["stderr"], "level": "INFO"}},
}
