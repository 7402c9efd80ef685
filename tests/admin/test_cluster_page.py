"""The admin's page "Cache cluster": who may see it and what it shows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client

from django_hacache.wire import cache_pb2 as pb
from django_hacache.worker import process
from tests.status.answering import CLUSTER, answering, degraded

PAGE = "/admin/django_hacache/cluster/"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def location(settings: Any) -> Iterator[Path]:
    """A host of a three-node cluster whose node does not run."""
    settings.HACACHE = CLUSTER
    with tempfile.TemporaryDirectory(prefix="admin-") as directory:
        settings.CACHES = {"default": {"BACKEND": "django_hacache.cache.HACache", "LOCATION": directory}}
        # What is under test is not where the test's own login lives.
        settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"
        process.forget()
        yield Path(directory)
        process.close()


@pytest.fixture
def staff(client: Client) -> User:
    user = User.objects.create_user("clerk", password="secret", is_staff=True)
    client.force_login(user)
    return user


@pytest.fixture
def viewer(staff: User) -> User:
    staff.user_permissions.add(Permission.objects.get(codename="view_cluster"))
    return staff


def text(client: Client, page: str = PAGE) -> str:
    response = client.get(page)
    assert response.status_code == 200
    return response.content.decode()


def test_anonymous_visitors_are_sent_to_the_login(client: Client) -> None:
    response = client.get(PAGE)
    assert response.status_code == 302
    assert "/admin/login/" in response["Location"]


def test_staff_without_the_permission_are_refused_and_see_no_link(client: Client, staff: User) -> None:
    assert client.get(PAGE).status_code == 403
    assert PAGE not in text(client, "/admin/")


def test_staff_with_the_permission_find_the_page_in_the_index(client: Client, viewer: User) -> None:
    index = text(client, "/admin/")
    assert f'href="{PAGE}"' in index
    assert "Cache cluster" in index


def test_the_page_shows_the_cluster_as_the_node_sees_it(client: Client, viewer: User, location: Path) -> None:
    with answering(location, pb.Ack(status_ack=degraded())):
        page = text(client)
    for shown in ("hacache-degraded", "10.0.0.13:7001", "120345", "120344", "1d 2h", "leader (fresh)"):
        assert shown in page
    for shown in (
        "sessions",
        "11.8\xa0MB",
        "recent requests",
        "64.0\xa0MB",
        "25 %",
        "10.0.0.12:7001 to 10.0.0.13:7001",
    ):
        assert shown in page


def test_the_page_says_which_nodes_take_no_part_and_why(client: Client, viewer: User, location: Path) -> None:
    seen = degraded()
    seen.other_hosts.add(addr="10.0.0.13:7001", hosts=["10.0.0.11:7001", "10.0.0.13:7001"])
    seen.other_hosts.add(addr="10.0.0.14:7001", version=7)
    seen.hosts[2].role = "base_protocol"
    with answering(location, pb.Ack(status_ack=seen)):
        page = text(client)
    assert (
        "10.0.0.13:7001 takes no part: its HA_HOSTS is another list, 10.0.0.11:7001, 10.0.0.13:7001" in page
    )
    assert "10.0.0.14:7001 takes no part: it is of another release of django_hacache (protocol 7)" in page
    assert "no node (base protocol)" in page


def test_the_page_works_when_the_node_does_not_and_says_what_to_do(client: Client, viewer: User) -> None:
    page = text(client)
    assert "node does not answer" in page
    assert "manage.py hacache_node" in page


def test_the_page_of_a_standalone_site_shows_its_caches(client: Client, viewer: User, settings: Any) -> None:
    settings.HACACHE = {"HA_MODE": False}
    cache.set("a", 1)
    page = text(client)
    assert "Standalone" in page
    assert "default" in page


def test_the_page_of_a_standalone_site_before_its_first_use_says_that_nothing_is_stored(
    client: Client, viewer: User, settings: Any, location: Path
) -> None:
    settings.HACACHE = {"HA_MODE": False}
    page = text(client)
    assert "Nothing is stored yet" in page
    assert str(location) in page
    assert "errornote" not in page
    assert list(location.iterdir()) == []


def test_the_page_of_a_standalone_site_whose_replica_cannot_be_used_speaks_of_no_node(
    client: Client, viewer: User, settings: Any, location: Path
) -> None:
    settings.HACACHE = {"HA_MODE": False}
    location.chmod(0o777)
    page = text(client)
    assert "cache of this machine cannot be used" in page
    assert "writable by other users" in page
    assert "node" not in page.partition('id="content-main"')[2]


def test_wrong_settings_are_shown_and_escaped(client: Client, viewer: User, settings: Any) -> None:
    settings.HACACHE = {"HA_MODE": "<maybe>"}
    page = text(client)
    assert "HA_MODE" in page
    assert "<maybe>" not in page


def test_a_host_s_words_are_escaped(client: Client, viewer: User, location: Path) -> None:
    host = pb.HostStatus(addr="<script>", role="<b>", connected=True)
    with answering(location, pb.Ack(status_ack=pb.StatusAck(health="<i>", hosts=[host]))):
        page = text(client)
    assert "&lt;script&gt;" in page
    assert "<b>" not in page
    assert "<i>" not in page


@pytest.mark.parametrize("address", ["add/", "1/change/", "1/delete/", "1/"])
def test_nothing_can_be_added_changed_or_deleted(admin_client: Client, address: str) -> None:
    assert admin_client.get(PAGE + address).status_code == 404


def test_no_browser_or_proxy_keeps_the_page(client: Client, viewer: User) -> None:
    assert "no-store" in client.get(PAGE)["Cache-Control"]


def test_migrate_makes_the_view_permission_and_no_other() -> None:
    codenames = Permission.objects.filter(content_type__app_label="django_hacache")
    assert [permission.codename for permission in codenames] == ["view_cluster"]


@pytest.mark.parametrize("field", ["django.db.models.AutoField", "django.db.models.BigAutoField"])
def test_makemigrations_finds_nothing_to_do_in_a_user_s_project(settings: Any, field: str) -> None:
    settings.DEFAULT_AUTO_FIELD = field
    call_command("makemigrations", "django_hacache", check=True, dry_run=True, verbosity=0)


def test_what_makes_all_reads_of_the_web_process_misses_is_shown(
    client: Client, viewer: User, location: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (location / "control").symlink_to("elsewhere")
    with answering(location, pb.Ack(status_ack=degraded())):
        page = text(client)
    assert "All reads of this web process are misses" in page
    assert f"{location}/control is a symbolic link" in page
