"""Makes pages of the site: the whole of Django from the request's environment on, without a network."""

from __future__ import annotations

import functools
import io
from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.test import RequestFactory

from benchmarks.work.counting import Calls, rate

if TYPE_CHECKING:
    from collections.abc import Callable

PATHS = ("/front/", "/article/")
PAGE_BYTES = 1000  # at least, of a page that has all its parts


class Visitor:
    """Somebody with a session, who asks for one page after the other."""

    def __init__(self) -> None:
        session = import_module(settings.SESSION_ENGINE).SessionStore()
        session["visitor"] = {"name": "Ada", "basket": list(range(20))}
        session.save()
        self._cookie = f"{settings.SESSION_COOKIE_NAME}={session.session_key}"
        self._handler = WSGIHandler()

    def page(self, path: str) -> Callable[[Any], int]:
        environ = RequestFactory(HTTP_COOKIE=self._cookie).get(path).environ

        def make(_cache: Any) -> int:
            statuses: list[str] = []
            start: Any = lambda status, _: statuses.append(status)  # noqa: E731 - more than it is called with
            response = self._handler(environ | {"wsgi.input": io.BytesIO()}, start)
            made = sum(map(len, response))
            response.close()
            return made if statuses == ["200 OK"] else 0

        return make


def count_pages(start: float, end: float) -> float:
    """Both pages, one after the other; nothing of them has to be made anew after the first time."""
    return rate(_pages(), start, end)


@functools.cache
def _pages() -> Calls:
    visitor = Visitor()
    return [(visitor.page(path), lambda size: size > PAGE_BYTES) for path in PATHS]
