"""A cache as one variable of the environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import environ
import pytest
from django.core.cache import caches

from django_hacache.cache_url import Env
from django_hacache.conf import AckLevel
from django_hacache.conf.options import cache_options
from django_hacache.exceptions import ConfigurationError
from django_hacache.worker import process

BACKEND = "django_hacache.cache.HACache"


def parsed(url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("CACHE_URL", url)
    return environ.Env().cache_url("CACHE_URL")


def test_path_and_options_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = parsed(
        "hacache:///dev/shm/mysite?ack_level=all&size_limit=64MB&ignore_exceptions=true&cache_name=site"
        "&timeout=60&key_prefix=shop&version=2",
        monkeypatch,
    )
    assert entry.pop("BACKEND") == BACKEND
    location = entry.pop("LOCATION")
    assert location == "/dev/shm/mysite"
    assert (entry["TIMEOUT"], entry["KEY_PREFIX"], entry["VERSION"]) == (60, "shop", 2)
    options = cache_options("default", location, entry)
    assert options.location == Path("/dev/shm/mysite")
    assert (options.name, options.ack_level) == ("site", AckLevel.ALL)
    assert (options.size_limit, options.ignore_exceptions) == (64_000_000, True)


def test_a_url_without_a_path_means_the_default_location(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parsed("hacache://", monkeypatch) == {"BACKEND": BACKEND, "LOCATION": ""}
    assert parsed("hacache:///?timeout=60", monkeypatch)["LOCATION"] == ""


def test_what_is_quoted_in_a_path_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parsed("hacache:///srv/my%20site", monkeypatch)["LOCATION"] == "/srv/my site"


@pytest.mark.parametrize(
    ("path", "expected"),
    [("$HOME/x", "without variables"), ("srv/$%7BSITE%7D", "without variables"), ("srv/site%20", "no blank")],
)
def test_what_is_no_path_in_a_url_is_none_of_a_location(
    path: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = parsed(f"hacache:///{path}", monkeypatch)
    with pytest.raises(ConfigurationError, match=expected):
        cache_options("default", entry["LOCATION"], {})


def test_a_subclass_may_be_named_in_place_of_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHE_URL", "hacache:///dev/shm/mysite")
    entry = Env().cache_url("CACHE_URL", backend="tests.conf.backends.ProjectCache")
    assert entry == {"BACKEND": "tests.conf.backends.ProjectCache", "LOCATION": "/dev/shm/mysite"}


@pytest.mark.parametrize("url", ["hacache://dev/shm/mysite", "hacache://:s3cret@10.0.0.1:7001/site"])
def test_a_url_with_a_host_is_an_error_that_shows_no_password(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="expected three slashes") as caught:
        parsed(url, monkeypatch)
    assert "s3cret" not in str(caught.value)


def test_other_schemes_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        parsed("redis://10.0.0.1:6379/1?max_entries=5", monkeypatch)["LOCATION"] == "redis://10.0.0.1:6379/1"
    )
    assert parsed("filecache:///var/tmp/django", monkeypatch)["LOCATION"] == "/var/tmp/django"


def test_a_cache_from_the_environment_works(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CACHES = {"default": parsed(f"hacache://{tmp_path}/replica?max_entries=5", monkeypatch)}
    caches["default"].set("key", 1)
    assert caches["default"].get("key") == 1
    assert (tmp_path / "replica").is_dir()
    process.close()


def test_settings_may_import_it_before_django_is_set_up() -> None:
    program = """
import os, sys
from django_hacache.cache_url import Env
os.environ["CACHE_URL"] = "hacache:///dev/shm/site"
print(Env().cache_url("CACHE_URL")["LOCATION"], "django_hacache.cache" in sys.modules, "grpc" in sys.modules)
"""
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    assert ran.stdout.split() == ["/dev/shm/site", "False", "False"]
