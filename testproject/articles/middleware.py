"""What makes the demo's hosts visible, and how a site behaves on a host whose node is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.sessions.backends.cache import SessionStore
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.cache import caches
from django.shortcuts import render
from django.utils import timezone

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

    GetResponse = Callable[[HttpRequest], HttpResponse]

# base.html has this in the foot of the page. A cached page is stored with the mark, not with the text.
SERVED_MARK = b"<!-- served -->"


def tell_who_served(get_response: GetResponse) -> GetResponse:
    """Write into each page which host served it, and whether it came from the cache."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if response.streaming or SERVED_MARK not in response.content:
            return response
        source = "from the cache" if getattr(request, "page_from_cache", False) else "made here"
        served = f"Served by <b>{settings.DEMO_HOST}</b> at {timezone.now():%H:%M:%S}, <b>{source}</b>."
        response.content = response.content.replace(SERVED_MARK, served.encode())
        response["Content-Length"] = str(len(response.content))
        # Each click has to reach a server, or the browser's own cache would answer in its place.
        response["Cache-Control"] = "no-store"
        return response

    return middleware


class ClusterSessionMiddleware(SessionMiddleware):
    """Sessions in the cache, on a host whose node may be gone.

    Reads are misses then, a session that reads as empty is taken for a stale one, and Django deletes its
    cookie: one page from this host would log the user out on every host. So the cookie stays.
    """

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        try:
            response = super().process_response(request, response)
        except ConnectionError:
            return no_node(request)
        cookie = response.cookies.get(settings.SESSION_COOKIE_NAME)
        if cookie is not None and not cookie.value and session_may_live(request):
            del response.cookies[settings.SESSION_COOKIE_NAME]
        return response


class NodeGone:
    """Answer 503 where a page cannot do without the cluster: a load balancer goes to the next host then."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if isinstance(exception, ConnectionError):
            return no_node(request)
        return None


def no_node(request: HttpRequest) -> HttpResponse:
    """Say that this host cannot reach the cluster."""
    return render(request, "articles/no_node.html", status=503)


def session_may_live(request: HttpRequest) -> bool:
    """Tell whether the session of the request's cookie lives, or nobody can tell.

    This host's read may have been a miss for want of its node. A touch is decided by the leader.
    """
    key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    if key is None:
        return False
    sessions = caches[settings.SESSION_CACHE_ALIAS]
    try:
        return sessions.touch(SessionStore(key).cache_key, settings.SESSION_COOKIE_AGE)
    except ConnectionError:
        return True
