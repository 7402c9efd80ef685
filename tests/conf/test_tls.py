"""The files of TLS that a node is given."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from django_hacache.conf.cluster import cluster_config, node_config
from tests.conf import HOSTS
from tests.conf.errors import error_of

PATHS = [
    f"CACHE_TLS_{name}"
    for name in ("SERVER_CERT", "SERVER_KEY", "CLIENT_CERT", "CLIENT_KEY", "CA_SERVER", "CA_CLIENT")
]


@pytest.mark.parametrize("name", PATHS)
def test_a_tls_path_that_is_no_path_is_refused(name: str, cluster: Any) -> None:
    cluster(**{name: 7})
    assert f"{name} is 7, from settings.HACACHE: expected the path of a file." in error_of()


def tls_cluster(pem: Path) -> dict[str, object]:
    return {
        "CACHE_TLS": True,
        "HA_HOSTS": HOSTS.replace("http:", "https:"),
        "CACHE_TLS_SERVER_CERT": pem,
        "CACHE_TLS_SERVER_KEY": str(pem),
    }


def test_a_node_starts_with_tls_files_that_it_can_read(cluster: Any, pem: Path) -> None:
    cluster(**tls_cluster(pem), CACHE_TLS_CLIENT_CERT=pem, CACHE_TLS_CLIENT_KEY=pem, CACHE_TLS_CA_CLIENT=pem)
    tls = node_config().tls
    assert tls is not None
    assert tls.server_cert == pem


@pytest.mark.parametrize("name", PATHS)
def test_a_node_refuses_a_tls_file_that_is_not_there(name: str, cluster: Any, pem: Path) -> None:
    optional = {"CACHE_TLS_CLIENT_CERT": pem, "CACHE_TLS_CLIENT_KEY": pem}
    missing = pem.with_name("missing.pem")
    cluster(**{**tls_cluster(pem), **optional, name: missing})
    assert cluster_config().ha_mode, "a web worker needs no TLS file"
    message = error_of(node_config)
    assert message.startswith(f"{name} is '{missing}', from settings.HACACHE: expected a PEM file")
    assert "No such file" in message


def test_a_node_refuses_a_tls_file_without_pem(cluster: Any, pem: Path) -> None:
    pem.write_bytes(b"\x30\x82")
    cluster(**tls_cluster(pem))
    assert "it has no PEM block" in error_of(node_config)


def test_a_node_refuses_a_directory_as_a_tls_file(cluster: Any, pem: Path) -> None:
    cluster(**{**tls_cluster(pem), "CACHE_TLS_SERVER_KEY": pem.parent})
    assert "it is a directory" in error_of(node_config)


@pytest.mark.parametrize("name", PATHS)
def test_a_node_does_not_wait_for_what_is_no_file(name: str, cluster: Any, pem: Path) -> None:
    optional = {"CACHE_TLS_CLIENT_CERT": pem, "CACHE_TLS_CLIENT_KEY": pem}
    fifo = pem.with_name("fifo.pem")
    os.mkfifo(fifo)
    cluster(**{**tls_cluster(pem), **optional, name: fifo})
    assert "it is no regular file" in error_of(node_config)
    cluster(**{**tls_cluster(pem), **optional, name: Path("/dev/zero")})
    assert "it is no regular file" in error_of(node_config)


def test_a_node_reads_no_tls_file_without_end(cluster: Any, pem: Path) -> None:
    with pem.open("ab") as file:
        file.truncate(2 << 20)
    cluster(**tls_cluster(pem))
    assert "it has more than 1048576 bytes" in error_of(node_config)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ("CACHE_TLS_CLIENT_CERT", "CACHE_TLS_CLIENT_KEY"),
        ("CACHE_TLS_CLIENT_KEY", "CACHE_TLS_CLIENT_CERT"),
        ("CACHE_TLS_CA_CLIENT", "CACHE_TLS_CLIENT_CERT"),
    ],
)
def test_half_of_mutual_tls_is_refused(given: str, missing: str, cluster: Any, pem: Path) -> None:
    cluster(**tls_cluster(pem), **{given: pem})
    assert error_of().startswith(f"{missing} is not set, but {given} is '{pem}', from settings.HACACHE")


def test_a_relative_tls_path_counts_from_the_base_directory(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BASE_DIR = tmp_path
    settings.HACACHE = {"CACHE_TLS_CA_SERVER": "certs/ca.pem"}
    monkeypatch.chdir("/")
    tls = cluster_config().tls
    assert tls is not None
    assert tls.ca_server == tmp_path / "certs/ca.pem"
    assert tls.server_key == tmp_path / "tls/redhac.key.pem"
