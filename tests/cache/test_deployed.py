"""What docs/how-to/deploy.md promises, with the settings that stand there and the node gone."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest
from django.core.cache import caches
from django.http import HttpResponse
from django.test import RequestFactory
from django.views.decorators.cache import cache_page

from django_hacache.exceptions import CacheUnavailable
from django_hacache.worker import process
from tests.node_process import cluster_settings, serves
from tests.waiting import eventually

DEPLOY = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "deploy.md"
LOCATION = "/run/mysite"


def documented(heading):
    """The names that the first block of Python below a heading of the page assigns."""
    block = re.search(
        rf"^## {heading}$.*?^ *```python\n(.*?)^ *```", DEPLOY.read_text(), re.MULTILINE | re.DOTALL
    )
    assert block is not None
    names = {}
    exec(block[1], names)
    return names


@pytest.fixture
def deployed(small_node, settings, monkeypatch):
    """The settings of the page, on a host whose node is gone; only the directory is another one."""
    found = documented(r"1\. Settings")
    assert {entry["LOCATION"] for entry in found["CACHES"].values()} == {LOCATION}
    for name in ("CACHES", "SESSION_ENGINE"):
        setattr(settings, name, found[name])
    settings.CACHES = {
        alias: {**entry, "LOCATION": str(small_node.location)} for alias, entry in found["CACHES"].items()
    }
    settings.HACACHE = cluster_settings("127.0.0.1:9")
    yield small_node
    process.close()


@pytest.fixture
def gone(deployed):
    deployed.kill()


def session(settings, key=None):
    return import_module(settings.SESSION_ENGINE).SessionStore(key)


@pytest.fixture
def view():
    return cache_page(60)(lambda request: HttpResponse("the page"))


@pytest.mark.django_db
def test_sessions_come_from_the_database_and_are_written(deployed, settings):
    visitor = session(settings)
    visitor["user"] = 1
    visitor.save()
    deployed.kill()
    eventually(lambda: not serves(deployed.location))
    found = session(settings, visitor.session_key)
    assert found["user"] == 1
    found["user"] = 2
    found.save()
    assert session(settings, visitor.session_key)["user"] == 2


def test_cached_pages_are_served(gone, view):
    for _ in range(2):
        assert view(RequestFactory().get("/")).content == b"the page"


def test_whoever_has_to_know_is_told_by_the_strict_alias(gone):
    with pytest.raises(CacheUnavailable):
        caches["strict"].set("healthy", 1)


def test_the_strict_alias_is_the_same_cache(deployed):
    caches["strict"].set("key", 1)
    assert caches["default"].get("key") == 1


def test_the_health_check_of_the_page_says_503(gone):
    healthy = documented(r"6\. Let the load balancer know")["healthy"]
    assert healthy(RequestFactory().get("/")).status_code == 503


def test_the_health_check_of_the_page_says_200_where_a_node_serves(deployed):
    healthy = documented(r"6\. Let the load balancer know")["healthy"]
    assert healthy(RequestFactory().get("/")).status_code == 200
