"""Makes pages of the site: the whole of Django from the request's environment on, without a network."""

from __future__ import annotations

import functools
import io
import itertools
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.test import RequestFactory

from benchmarks.work.calls import Block, timed
from benchmarks.work.counting import Calls, rate

if TYPE_CHECKING:
    from collections.abc import Callable

# Asked for in turn.
PATHS = {
    "pages": ("/front/", "/article/"),
    "pages_half": ("/front/", "/visited/article/"),
    "pages_all": ("/visited/front/", "/visited/article/"),
    "pages_ten": ("/ten/",),
    "api_listed": ("/api/listed/",),
    "api_counted": ("/api/counted/",),
}
PAGE_BYTES = 800  # at least, of a page that has all its parts


class Visitor:
    """Somebody with a session and an address of their own, who asks for one page after the other."""

    def __init__(self) -> None:
        session = import_module(settings.SESSION_ENGINE).SessionStore()
        session["visitor"] = {"name": "Ada", "basket": list(range(20))}
        session.save()
        self._cookie = f"{settings.SESSION_COOKIE_NAME}={session.session_key}"
        self._address = f"10.{os.getpid() >> 16 & 255}.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
        self._handler = WSGIHandler()

    def page(self, path: str) -> Callable[[Any], int]:
        environ = RequestFactory(HTTP_COOKIE=self._cookie, REMOTE_ADDR=self._address).get(path).environ

        def make(_cache: Any) -> int:
            statuses: list[str] = []
            start: Any = lambda status, _: statuses.append(status)  # noqa: E731 - more than it is called with
            response = self._handler(environ | {"wsgi.input": io.BytesIO()}, start)
            made = sum(map(len, response))
            response.close()
            return made if statuses == ["200 OK"] else 0

        return make


def count_pages(kind: str, start: float, end: float) -> float:
    """Pages of a kind, one after the other; what is cached of them does not have to be made anew."""
    return rate(_pages(kind), start, end)


def time_pages(kind: str, count: int, warm_up: int, seconds: float, pause: float) -> list[int]:
    """Nanoseconds of each of `count` pages, with pauses between them."""
    pages = itertools.islice(itertools.cycle(_pages(kind)), warm_up + count)
    return timed(Block([make for make, _ in pages], _is_whole), warm_up, seconds, pause)


@functools.cache
def _pages(kind: str) -> Calls:
    visitor = Visitor()
    return [(visitor.page(path), _is_whole) for path in PATHS[kind]]


def _is_whole(size: int) -> bool:
    return size > PAGE_BYTES
