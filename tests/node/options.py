"""Options of aliases, as their defaults are."""

from __future__ import annotations

from django_hacache.conf.options import cache_options


def options_of(name, location="/nonexistent", **options):
    return cache_options(name, location, {"OPTIONS": options})
