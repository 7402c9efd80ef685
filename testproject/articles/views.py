"""The pages of the demo site: one cached whole, one in part, one not at all."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.cache import cache
from django.core.paginator import Paginator
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import cache_page

from testproject.articles.middleware import no_node, session_may_live
from testproject.articles.models import Article

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

    View = Callable[..., HttpResponse]

PAGE_SECONDS = 60
ARTICLES_PER_PAGE = 18


def one_page_for_all_hosts(view: View) -> View:
    """Give a page under cache_page the same address on every host.

    A cached page is stored under its absolute address. Behind a load balancer all hosts of a site have the
    same one; in the demo each has a port of its own.
    """

    @wraps(view)
    def wrapped(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        request.META["HTTP_HOST"] = "demo.localhost"
        # Stays so where the view is never called.
        request.page_from_cache = True  # type: ignore[attr-defined]
        return view(request, *args, **kwargs)

    return wrapped


def show(request: HttpRequest, template: str, context: dict[str, object]) -> HttpResponse:
    """Render a page that says where and when it was made."""
    request.page_from_cache = False  # type: ignore[attr-defined]
    return render(request, template, {**context, "made_by": settings.DEMO_HOST, "made_at": timezone.now()})


@one_page_for_all_hosts
@cache_page(PAGE_SECONDS)
def article_list(request: HttpRequest) -> HttpResponse:
    topic = request.GET.get("topic", "")
    articles = Article.objects.filter(topic=topic) if topic else Article.objects.all()
    topics = Article.objects.order_by("topic").values_list("topic", flat=True).distinct()
    page = Paginator(articles, ARTICLES_PER_PAGE).get_page(request.GET.get("page"))
    return show(request, "articles/list.html", {"page": page, "topics": topics, "topic": topic})


def article_detail(request: HttpRequest, pk: int) -> HttpResponse:
    article = get_object_or_404(Article, pk=pk)
    return show(request, "articles/detail.html", {"article": article, "views": count_view(pk)})


def account(request: HttpRequest) -> HttpResponse:
    if not request.user.is_authenticated:
        return no_node(request) if session_may_live(request) else redirect("login")
    request.session["visits"] = request.session.get("visits", 0) + 1
    return show(request, "articles/account.html", {"visits": request.session["visits"]})


def count_view(pk: int) -> int | None:
    """Count a view in the cluster's order; None where this host cannot reach the cluster."""
    key = f"views:{pk}"
    try:
        cache.add(key, 0, timeout=None)
        return cache.incr(key)
    except ConnectionError:
        return None
