"""Nodes that speak TLS and ask each other for certificates."""

from __future__ import annotations

from tests.certificates import NAME, Authority
from tests.waiting import eventually


def shown(issued):
    """The settings of a node that shows this certificate, whoever asks."""
    return {
        "CACHE_TLS_SERVER_CERT": str(issued.cert),
        "CACHE_TLS_SERVER_KEY": str(issued.key),
        "CACHE_TLS_CLIENT_CERT": str(issued.cert),
        "CACHE_TLS_CLIENT_KEY": str(issued.key),
    }


def mutual(authority, issued):
    return {
        "CACHE_TLS": "true",
        **shown(issued),
        "CACHE_TLS_CA_SERVER": str(authority.cert),
        "CACHE_TLS_CA_CLIENT": str(authority.cert),
        "CACHE_TLS_CLIENT_VALIDATE_DOMAIN": NAME,
    }


def test_mutual_tls_joins_those_of_one_authority_and_no_other(new_cluster, tmp_path):
    authority = Authority(tmp_path)
    foreign = Authority(tmp_path, "stranger").issue("foreign")
    cluster = new_cluster(3, scheme="https", **mutual(authority, authority.issue("node")))
    host = cluster.hosts[0]
    host.worker.set("key", 1, ack="all")
    assert [one.worker.get("key") for one in cluster.hosts] == [1] * 3
    # The lanes, too, speak TLS with these certificates.
    eventually(lambda: len(host.status().hosts[0].lanes) == 2)
    host.signal(9)
    host.environment |= shown(foreign)
    before = len(host.log.read_text())
    host.start()
    eventually(lambda: "certificate is of another authority" in host.log.read_text()[before:])
    cluster.others(host)[0].worker.set("key", 2)
    assert "no lane to" not in host.log.read_text()[before:], "a lane was tried without a stream"
    assert not host.serves()
    assert host.worker.get("key") is None
