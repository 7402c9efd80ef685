"""The application: registers the system checks. Starts nothing and opens nothing."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks


class DjangoHacacheConfig(AppConfig):
    name = "django_hacache"
    verbose_name = "Cache"

    def ready(self) -> None:
        from django_hacache.checks import (  # noqa: PLC0415 - settings are ready only now
            check_configuration,
            check_hosts,
        )

        checks.register(check_configuration, checks.Tags.caches)
        checks.register(check_hosts, checks.Tags.caches)
