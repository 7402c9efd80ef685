from __future__ import annotations

import io
import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from django.core import checks
from django.core.cache import caches
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from django_hacache.conf import rules
from django_hacache.conf.options import LARGEST_CLUSTER_VALUE
from django_hacache.conf.problems import Id, explanation_of
from django_hacache.conf.rules import find_problems
from django_hacache.conf.sources import Source
from django_hacache.exceptions import ConfigurationError
from tests.conf import HOSTS

DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference"
BACKEND = "django_hacache.cache.HACache"


def ids() -> list[str]:
    return [problem.id.removeprefix("django_hacache.") for problem in find_problems()]


def test_a_right_configuration_has_no_problem(cluster: Any) -> None:
    assert ids() == []
    cluster()
    assert ids() == []


@pytest.mark.parametrize(
    "pages",
    [
        {"SESSION_ENGINE": rules.CACHED_SESSIONS, "SESSION_CACHE_ALIAS": "pages"},
        {"MIDDLEWARE": [rules.CACHED_PAGES], "CACHE_MIDDLEWARE_ALIAS": "pages"},
    ],
    ids=["sessions", "pages"],
)
def test_pages_that_a_cluster_without_a_node_would_break_are_a_warning(
    pages: dict[str, Any], cluster: Any, settings: Any, tmp_path: Path
) -> None:
    def configure(**options: object) -> None:
        entry = {"BACKEND": BACKEND, "LOCATION": str(tmp_path / "location")}
        settings.CACHES = {"default": entry, "pages": {**entry, "OPTIONS": options}}

    for name, value in pages.items():
        setattr(settings, name, value)
    configure()
    assert ids() == []  # a standalone cache needs no node
    cluster()
    assert ids() == ["W020"]
    configure(IGNORE_EXCEPTIONS=True)
    assert ids() == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"HA_MOD": True}, "E001"),
        ({"CACHE_BUF_SERVER": "x"}, "E002"),
        ({"HA_HOSTS": None}, "E003"),
        ({"HA_HOSTS": "http://127.0.0.1:8001,http://127.0.0.1:8002"}, "E004"),
        ({"HA_HOSTS": HOSTS + ",http://127.0.0.1:8001"}, "E005"),
        ({"HA_HOSTS": HOSTS.replace("http", "https")}, "E006"),
        ({"HOSTNAME_OVERWRITE": "127.0.0.1:9"}, "E007"),
        ({"CACHE_AUTH_TOKEN": None}, "E008"),
        ({"CACHE_RECONNECT_TIMEOUT_LOWER": 2000}, "E011"),
        ({"CACHE_AUTH_TOKEN": "kX3v9Qm2Lr8Tz5"}, "E022"),
        ({"CACHE_AUTH_TOKEN": None, "CACHE_AUTH_TOKEN_FILE": "missing"}, "E023"),
        ({"CACHE_AUTH_TOKEN": "kX3v9Qm2Lr8Tz5Wb"}, "W001"),
        ({"CACHE_AUTH_TOKEN": "SuperSafeSecretToken1337"}, "W002"),
        ({"CACHE_AUTH_TOKEN": "a" * 40}, "W002"),
        ({"HA_HOSTS": [f"http://127.0.0.1:800{n}" for n in (1, 2, 3, 4)]}, "W003"),
        ({"HA_HOSTS": [f"http://127.0.0.1:800{n}" for n in range(1, 7)]}, "W003"),
        ({"HA_HOSTS": [f"http://127.0.0.1:800{n}" for n in range(1, 10)]}, "W003"),
        ({"CACHE_RECONNECT_TIMEOUT_UPPER": 2001}, "W006"),
        ({"HA_HOSTS": "http://a:1,http://b:1,http://c:1", "HOSTNAME_OVERWRITE": "a:1"}, "W010"),
    ],
)
def test_each_problem_of_the_cluster_has_its_identifier(changes: Any, expected: str, cluster: Any) -> None:
    cluster(**changes)
    assert ids() == [expected]


def test_tls_files_are_checked(cluster: Any, pem: Path) -> None:
    tls = {"CACHE_TLS": True, "HA_HOSTS": HOSTS.replace("http", "https"), "CACHE_TLS_SERVER_KEY": pem}
    cluster(**tls, CACHE_TLS_SERVER_CERT=pem.parent / "missing")
    assert ids() == ["E009"]
    cluster(**tls, CACHE_TLS_SERVER_CERT=pem, CACHE_TLS_CLIENT_KEY=pem)
    assert ids() == ["E010"]


@pytest.mark.parametrize(
    "listed", ["http://web1:1,http://web1:2,http://web1:3", "http://a:1,http://b:1,http://c:1"]
)
def test_a_machine_that_is_not_exactly_one_host_is_warned(
    listed: str, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "web1")
    cluster(HOSTNAME_OVERWRITE=None, HA_HOSTS=listed)
    assert ids() == ["W009", "W010"] or ids() == ["W010", "W009"]


@pytest.mark.parametrize(
    ("name", "entry", "expected"),
    [
        ("default", {"BACKEND": BACKEND, "OPTIONS": {"SIZE": 1}}, "E012"),
        ("default", {"BACKEND": BACKEND, "OPTIONS": {"SIZE_LIMIT": 1}}, "E013"),
        ("default", {"BACKEND": BACKEND, "LOCATION": "/" + "d" * 107}, "E014"),
        ("default", {"BACKEND": BACKEND, "LOCATION": "redis://10.0.0.1:6379"}, "E014"),
        ("default", {"BACKEND": BACKEND, "LOCATION": "~/cache"}, "E014"),
        ("default", {"BACKEND": BACKEND, "LOCATION": "unique-snowflake"}, "E014"),
        ("default", {"BACKEND": "nowhere.Cache"}, "E015"),
        ("a" * 65, {"BACKEND": BACKEND}, "W005"),
        ("default", {"BACKEND": BACKEND}, None),
    ],
)
def test_each_problem_of_an_alias_has_its_identifier(
    name: str, entry: dict[str, Any], expected: str | None, settings: Any
) -> None:
    settings.CACHES = {name: entry}
    assert ids() == ([] if expected is None else [expected])


def test_aliases_of_one_cache_that_contradict_each_other_are_an_error(settings: Any) -> None:
    def aliases(mine: Any, theirs: Any) -> Any:
        return {
            "a": {"BACKEND": BACKEND, "OPTIONS": {"CACHE_NAME": "one", **mine}},
            "b": {"BACKEND": BACKEND, "OPTIONS": {"CACHE_NAME": "one", **theirs}},
        }

    for mine, theirs in (
        ({"SIZE_LIMIT": 10**6}, {"SIZE_LIMIT": 10**7, "MAX_VALUE_SIZE": 10**6}),
        ({"MAX_ENTRIES": 5}, {"MAX_ENTRIES": 6}),
        ({"CULL_FREQUENCY": 5}, {"CULL_FREQUENCY": 6}),
        ({"MAX_VALUE_SIZE": 5}, {"MAX_VALUE_SIZE": 6}),
    ):
        settings.CACHES = aliases(mine, theirs)
        assert ids() == ["E017"]
        settings.CACHES = aliases(mine, {})
        assert ids() == []
        settings.CACHES = aliases({}, theirs)
        assert ids() == []


def test_a_wrong_limit_is_said_once_whatever_aliases_share_the_cache(settings: Any) -> None:
    one = {"BACKEND": BACKEND, "OPTIONS": {"CACHE_NAME": "a"}}
    settings.CACHES = {"a": {"BACKEND": BACKEND, "OPTIONS": {"SIZE_LIMIT": "much"}}, "b": one, "c": one}
    assert ids() == ["E013"]


def test_a_location_on_a_disk_is_warned(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CACHES = {"default": {"BACKEND": BACKEND, "LOCATION": "/var/cache/site"}}
    monkeypatch.setattr(rules, "file_system_of", lambda path: "ext4")
    [found] = find_problems()
    assert found.id == "django_hacache.W012"
    assert "/var/cache/site is on a file system of type 'ext4'" in found.message
    # Where the system does not say, nothing is claimed.
    monkeypatch.setattr(rules, "file_system_of", lambda path: None)
    assert ids() == []


def test_values_that_no_cluster_takes_are_an_error_in_a_cluster(cluster: Any, settings: Any) -> None:
    options = {"SIZE_LIMIT": "1GiB", "MAX_VALUE_SIZE": LARGEST_CLUSTER_VALUE + 1}
    settings.CACHES = {"default": {"BACKEND": BACKEND}, "large": {"BACKEND": BACKEND, "OPTIONS": options}}
    assert ids() == []  # nobody waits for heartbeats
    cluster()
    [found] = find_problems()
    assert found.id == "django_hacache.E021"
    for told in (
        "cache 'large'",
        f"{LARGEST_CLUSTER_VALUE + 1} bytes",
        f"expected {LARGEST_CLUSTER_VALUE} at most",
    ):
        assert told in found.message
    with pytest.raises(ConfigurationError, match="cache 'large'"):
        caches["large"].set("k", 1)
    options["MAX_VALUE_SIZE"] = LARGEST_CLUSTER_VALUE
    assert ids() == []


def unfit(tmp_path: Path, kind: str) -> Path:
    location = tmp_path / "location"
    match kind:
        case "/":
            return Path("/")
        case "used by others":
            (location / "static").mkdir(parents=True)
            location.chmod(0o755)
        case "writable by others":
            location.mkdir()
            location.chmod(0o777)
        case "a link":
            location.symlink_to(tmp_path)
        case "a file":
            location.touch()
        case _:
            location.touch()
            location /= "below"
    return location


@pytest.mark.parametrize(
    "kind", ["/", "used by others", "writable by others", "a link", "a file", "below a file"]
)
def test_a_directory_that_no_process_could_use_is_an_error(kind: str, settings: Any, tmp_path: Path) -> None:
    location = unfit(tmp_path, kind)
    settings.CACHES = {"default": {"BACKEND": BACKEND, "LOCATION": str(location)}}
    [found] = find_problems()
    assert found.id == "django_hacache.E020"
    assert f"The location {location} cannot be used: " in found.message


def test_a_directory_that_will_be_made_or_closed_is_no_problem(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir(mode=0o755)
    for name in ("none", "empty"):
        settings.CACHES = {"default": {"BACKEND": BACKEND, "LOCATION": str(tmp_path / name)}}
        assert ids() == []
    assert not (tmp_path / "none").exists()


def test_the_directory_of_another_user_is_warned(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who deploys may be another user than who serves: that stops no deployment."""
    settings.CACHES = {"default": {"BACKEND": BACKEND, "LOCATION": str(tmp_path)}}
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    [found] = find_problems()
    assert found.id == "django_hacache.W014"
    assert f"{tmp_path} belongs to user {owner}, and this process runs as user 12345" in found.message


def test_a_cluster_that_no_alias_uses_is_warned(cluster: Any, settings: Any) -> None:
    cluster()
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    assert ids() == ["W004"]


def test_aliases_that_one_node_cannot_serve_are_warned(cluster: Any, settings: Any, tmp_path: Path) -> None:
    settings.CACHES = {n: {"BACKEND": BACKEND, "LOCATION": str(tmp_path / n)} for n in ("a", "b")}
    assert ids() == []
    cluster()
    assert ids() == ["W007"]


def test_a_default_location_of_no_project_is_warned(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CACHES = {"default": {"BACKEND": BACKEND}}
    settings.BASE_DIR = None
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")
    assert ids() == ["W008"]


def test_manage_check_shows_what_a_start_would_raise(cluster: Any, settings: Any) -> None:
    # Django's own checks make every backend: one that raised there would hide all of this.
    settings.CACHES = {"default": {"BACKEND": BACKEND, "OPTIONS": {"SIZE": 1}}}
    cluster(HA_HOSTS="http://127.0.0.1:8001,http://127.0.0.1:8002", CACHE_AUTH_TOKEN="kX3v9Qm2Lr8Tz5Wb")
    with pytest.raises(SystemCheckError) as caught:
        call_command("check", stdout=io.StringIO(), stderr=io.StringIO())
    shown = str(caught.value)
    assert "(django_hacache.E004) HA_HOSTS is '127.0.0.1:8001, 127.0.0.1:8002'" in shown
    assert "(django_hacache.W001) CACHE_AUTH_TOKEN" in shown
    assert "(django_hacache.E012) CACHES" in shown
    assert f"HINT: Add a third host. See {explanation_of(Id.TWO_HOSTS)}" in shown
    assert "kX3v9Qm2Lr8Tz5Wb" not in shown


def test_a_check_can_be_silenced(cluster: Any, settings: Any) -> None:
    cluster(CACHE_AUTH_TOKEN="kX3v9Qm2Lr8Tz5Wb")
    settings.SILENCED_SYSTEM_CHECKS = ["django_hacache.W001"]
    found = [message for message in checks.run_checks() if message.id == "django_hacache.W001"]
    assert [message.is_silenced() for message in found] == [True]


def test_every_identifier_has_a_section_in_the_reference_and_none_is_there_in_vain() -> None:
    sections = re.findall(
        r"^## (django_hacache\.[EW]\d{3})\b", (DOCS / "checks.md").read_text(), re.MULTILINE
    )
    assert sections == [str(identifier) for identifier in Id]


def test_every_setting_and_option_is_in_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    read = Source.read
    asked: set[str] = set()

    def recorded(self: Source, name: str, *args: Any, **kwargs: Any) -> Any:
        asked.add(name)
        return read(self, name, *args, **kwargs)

    monkeypatch.setattr(Source, "read", recorded)
    find_problems()
    text = (DOCS / "settings.md").read_text()
    assert len(asked) > 30
    assert sorted(name for name in asked if f"### {name}\n" not in text) == []
