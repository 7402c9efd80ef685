"""A program of the base protocol among HA_HOSTS: whoever looks is told."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from django.core import checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from django_hacache.checks import check_hosts
from django_hacache.wire import cache_pb2 as pb
from tests.status.answering import answering, degraded
from tests.status.test_hacache_status import run


@pytest.fixture
def with_a_base_host() -> pb.Ack:
    ack = degraded()
    ack.hosts[2].role = "base_protocol"
    return pb.Ack(status_ack=ack)


def test_the_check_asks_the_node_and_is_an_error(cluster: Path, with_a_base_host: pb.Ack) -> None:
    with answering(cluster, with_a_base_host):
        (found,) = check_hosts()
        with pytest.raises(SystemCheckError, match="base protocol only"):
            call_command("check", stdout=io.StringIO(), stderr=io.StringIO())
    assert (found.id, found.level) == ("django_hacache.E018", checks.ERROR)
    assert "10.0.0.13:7001" in found.msg


def test_the_check_is_silent_where_the_hosts_are_nodes_or_no_node_runs(cluster: Path) -> None:
    with answering(cluster, pb.Ack(status_ack=degraded())):
        assert check_hosts() == []
    assert check_hosts() == []
    (cluster / "node.sock").touch()  # one that a dead node has left
    assert check_hosts() == []


def test_the_check_opens_no_standalone_cache(standalone: Path) -> None:
    (standalone / "node.sock").touch()
    assert check_hosts() == []
    assert [entry.name for entry in standalone.iterdir()] == ["node.sock"]


def test_the_check_leaves_a_wrong_configuration_to_the_other_one(cluster: Path, settings: object) -> None:
    settings.HACACHE = {"HA_MODE": True}  # type: ignore[attr-defined]
    (cluster / "node.sock").touch()
    assert check_hosts() == []


def test_the_status_says_that_it_is_no_node(cluster: Path, with_a_base_host: pb.Ack) -> None:
    with answering(cluster, with_a_base_host):
        code, text = run()
    assert code == 0
    (row,) = [line for line in text.splitlines() if line.startswith("10.0.0.13:7001")]
    assert "no node (base protocol)" in row


def test_the_checks_name_limits_that_differ_between_hosts(cluster: Path) -> None:
    ack = degraded()
    ack.other_limits.add(
        addr="10.0.0.12:7001", cache_name="default", limit="SIZE_LIMIT", there=1000, here=2000
    )
    with answering(cluster, pb.Ack(status_ack=ack)):
        (found,) = check_hosts()
    assert found.id == "django_hacache.W016"
    for told in ("10.0.0.12:7001", "SIZE_LIMIT", "'default'", "1000", "2000"):
        assert told in found.msg
