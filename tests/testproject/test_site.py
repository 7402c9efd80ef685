"""The demo site, each host of it a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

Visit = Callable[..., str]

CLIENT = """
import django
django.setup()
from django.conf import settings
from django.test import Client
client = Client(SERVER_NAME="127.0.0.1")
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("site") / "site.sqlite3"
    environment = {**os.environ, "DEMO_DATABASE": str(path), "DJANGO_SETTINGS_MODULE": "testproject.settings"}
    command = [sys.executable, str(ROOT / "manage.py"), "make_demo"]
    made = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert "300 articles; the admin's login is admin, password demo" in made.stdout
    return path


@pytest.fixture
def visit(database: Path) -> Iterator[Visit]:
    """Runs lines in a new process of the site, which has a `client`; returns what they print."""
    with tempfile.TemporaryDirectory(prefix="site-") as location:

        def run(lines: str, **variables: str) -> str:
            environment = {
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "testproject.settings",
                "DEMO_DATABASE": str(database),
                "HACACHE_LOCATION": location,
                **variables,
            }
            command = [sys.executable, "-c", CLIENT + lines]
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        yield run


WITHOUT_NODE = {
    "HA_MODE": "true",
    "HA_HOSTS": "http://127.0.0.1:7001",
    "HOSTNAME_OVERWRITE": "127.0.0.1:7001",
    "CACHE_TLS": "false",
    "CACHE_AUTH_TOKEN": "kT3vXq9ZbW5mNf8RcJ2hLd7PsYgA4eUo",
}


def test_a_page_made_by_one_host_is_served_from_the_cache_by_the_next(visit: Visit) -> None:
    look = "print(client.get('/', headers={'host': '127.0.0.1:%d'}).content.decode())"
    first, second = visit(look % 8001, DEMO_HOST="host 1"), visit(look % 8002, DEMO_HOST="host 2")
    assert "Served by <b>host 1</b>" in first
    assert "<b>made here</b>" in first
    assert "Served by <b>host 2</b>" in second
    assert "<b>from the cache</b>" in second
    assert "This page was made by host 1" in second


def test_the_fragment_of_an_article_is_made_once_and_its_views_are_counted_by_all(visit: Visit) -> None:
    look = "print(client.get('/articles/5/').content.decode())"
    visit(look, DEMO_HOST="host 1")
    second = visit(look, DEMO_HOST="host 2")
    assert "cached fragment that host 1 made" in second
    assert "<b>2</b> views" in second


def test_a_login_on_one_host_counts_on_the_next(visit: Visit) -> None:
    log_in = """
client.post('/login/', {'username': 'admin', 'password': 'demo'})
print(client.cookies[settings.SESSION_COOKIE_NAME].value)
"""
    cookie = visit(log_in).strip()
    look = f"""
client.cookies[settings.SESSION_COOKIE_NAME] = '{cookie}'
print(client.get('/account/').content.decode())
"""
    assert "You are <b>admin</b>" in visit(look)
    assert "<b>2</b></p>" in visit(look)


def test_without_its_node_a_host_shows_articles_counts_nothing_and_leaves_the_login_alone(
    visit: Visit,
) -> None:
    look = """
print(client.get('/').content.decode(), client.get('/articles/5/').content.decode())
client.cookies[settings.SESSION_COOKIE_NAME] = 'of-another-host'
response = client.get('/account/')
print(response.status_code, list(response.cookies))
print(client.post('/login/', {'username': 'admin', 'password': 'demo'}).status_code)
"""
    pages = visit(look, **WITHOUT_NODE)
    assert "All articles" in pages
    assert "views are not counted now" in pages
    assert pages.split("\n")[-3:-1] == ["503 []", "503"]
