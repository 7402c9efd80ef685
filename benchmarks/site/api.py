"""Endpoints of an API that count who asks how often, as the throttles of sites do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from django.core.cache import cache
from django.http import JsonResponse

from benchmarks.site.views import CACHED_S, latest_articles

if TYPE_CHECKING:
    from django.http import HttpRequest

PERIOD_S = 60
# Remembered of each client: one that is near its limit all the time, so that the list is as long for every cache.
REQUESTS = 20


def listed(request: HttpRequest) -> JsonResponse:
    """Keeps when each of the latest requests was, as SimpleRateThrottle of Django REST framework does."""
    key = f"throttle_user_{request.META['REMOTE_ADDR']}"
    history = cache.get(key, [])
    now = time.time()
    while history and history[-1] <= now - PERIOD_S:
        history.pop()
    history.insert(0, now)
    cache.set(key, history[:REQUESTS], PERIOD_S)
    return _articles()


def counted(request: HttpRequest) -> JsonResponse:
    """Counts the requests of the running minute, as django-ratelimit does."""
    window = int(time.time()) // PERIOD_S
    key = f"rate:{request.META['REMOTE_ADDR']}:{window}"
    if not cache.add(key, 1, PERIOD_S):
        cache.incr(key)
    return _articles()


def _articles() -> JsonResponse:
    return JsonResponse({"articles": cache.get_or_set("articles:latest", latest_articles, CACHED_S)})
