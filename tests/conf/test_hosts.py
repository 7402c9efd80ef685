"""The hosts of a cluster, and who reaches them: what a check says and what a node does are one rule."""

from __future__ import annotations

from typing import Any

import pytest

from django_hacache.conf.hosts import is_loopback
from django_hacache.conf.rules import find_problems
from django_hacache.node.transport.streams.listening import listening_address, listening_hosts

HERE = ["localhost", "127.0.0.1", "127.8.7.6", "::1", "0:0:0:0:0:0:0:1"]
ELSEWHERE = ["web1", "10.0.0.1", "::", "fe80::1", "127.example.org", "localhost.example.org"]


def is_called_plain_text(name: str, cluster: Any) -> bool:
    bracketed = f"[{name}]" if ":" in name else name
    cluster(
        HA_HOSTS=[f"http://{bracketed}:{port}" for port in (1, 2, 3)], HOSTNAME_OVERWRITE=f"{bracketed}:1"
    )
    return "django_hacache.W010" in [problem.id for problem in find_problems()]


@pytest.mark.parametrize("name", HERE)
def test_a_node_that_listens_on_this_machine_only_needs_no_tls(name: str, cluster: Any) -> None:
    assert is_loopback(name)
    assert listening_hosts(name) == name
    assert listening_address(name, 7001) == (f"[{name}]:7001" if ":" in name else f"{name}:7001")
    assert not is_called_plain_text(name, cluster)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_node_that_others_reach_is_warned_of_where_it_has_no_tls(name: str, cluster: Any) -> None:
    assert not is_loopback(name)
    assert (listening_hosts(name), listening_address(name, 7001)) == (None, "[::]:7001")
    assert is_called_plain_text(name, cluster)
