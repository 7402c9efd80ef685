"""Two pages as sites have them. Everything that they need is in the cache: that is what is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.cache import cache
from django.shortcuts import render
from django.views.decorators.cache import cache_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

    View = Callable[[HttpRequest], HttpResponse]

CACHED_S = 24 * 3600


def recognize_visitor(get_response: View) -> View:
    """Middleware that reads the session for every page, as authentication does; an API's clients have none."""

    def respond(request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/api/"):
            return get_response(request)
        visitor = request.session["visitor"]
        response = get_response(request)
        response["X-Visitor"] = visitor["name"]
        return response

    return respond


def remembered(view: View) -> View:
    """The page, and in the visitor's session that it was seen: which saves the session."""

    def respond(request: HttpRequest) -> HttpResponse:
        request.session["seen"] = request.session.get("seen", 0) + 1
        return view(request)

    return respond


@cache_page(CACHED_S)
def front(request: HttpRequest) -> HttpResponse:
    """The same for all visitors, and cached as a whole."""
    return render(request, "article.html", {"articles": latest_articles()})


def article(request: HttpRequest) -> HttpResponse:
    """Made for each visitor, of three cached fragments and the result of a query."""
    articles = cache.get_or_set("articles:latest", latest_articles, CACHED_S)
    return render(request, "article.html", {"articles": articles})


def many_writes(request: HttpRequest) -> HttpResponse:
    """The same, and ten things that have changed and are stored one by one."""
    for number, one in enumerate(latest_articles()):
        cache.set(f"articles:{number}", one, CACHED_S)
    return article(request)


def latest_articles() -> list[dict[str, Any]]:
    """What a query for ten rows would return; the cache keeps it, so no database is asked."""
    return [{"id": number, "title": f"Article {number}", "text": "word " * 10} for number in range(10)]
