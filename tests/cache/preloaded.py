"""A WSGI application that uses the cache while it is being loaded, so before a pre-forking server forks."""

from __future__ import annotations

import os

import django

django.setup()

from django.core.cache import cache  # noqa: E402

LOADED_BY = str(os.getpid())
cache.set("loaded_by", LOADED_BY, None)
assert cache.get("loaded_by") == LOADED_BY


def application(environ, start_response):
    """The process that answers, what was read of the one that loaded it, and how many requests there were."""
    cache.add("requests", 0, None)
    told = f"{os.getpid()} {cache.get('loaded_by')} {cache.incr('requests')}"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [told.encode()]
