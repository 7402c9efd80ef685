"""Nodes that speak TLS and ask each other for certificates."""

from __future__ import annotations

import contextlib
import socket
import ssl
import warnings

from tests.certificates import HOUR, NAME, SERVER, Authority
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


def knock(port, context):
    """Shake hands, with TLS as it says, and wait to be let in or sent away; without: speak as if there were none."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain, contextlib.suppress(OSError):
        if context is None:
            plain.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
            assert not plain.recv(1), "whoever speaks no TLS was answered"
            return
        with context.wrap_socket(plain) as secure:
            secure.recv(1)


def shows(issued=None, latest=ssl.TLSVersion.TLSv1_3):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, latest
    if latest < ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("ALL:@SECLEVEL=0")
    if issued is not None:
        context.load_cert_chain(issued.cert, issued.key)
    return context


def test_the_port_of_streams_says_whom_it_refused_and_why_in_the_words_of_lanes(new_cluster, tmp_path):
    authority = Authority(tmp_path)
    foreign = Authority(tmp_path, "stranger").issue("foreign")
    host = new_cluster(1, scheme="https", **mutual(authority, authority.issue("node"))).hosts[0]
    strangers = {
        "its certificate has expired": shows(authority.issue("expired", ends=-HOUR)),
        "its certificate is of another authority than the one configured": shows(foreign),
        "its certificate is for another purpose": shows(authority.issue("server", purposes=[SERVER])),
        "it shows no certificate, and CACHE_TLS_CA_CLIENT demands one": shows(),
        "it speaks no TLS later than 1.1": shows(latest=ssl.TLSVersion.TLSv1_1),
        "it does not speak TLS": None,
    }
    for why, context in strangers.items():
        knock(int(host.addr.rpartition(":")[2]), context)
        said = f"a stream was refused to somebody at 127.0.0.1: {why}"
        eventually(lambda said=said: said in host.log.read_text())
    assert "handshaker.cc" not in host.log.read_text(), "gRPC's own words are for whoever asks for them"
    host.worker.set("key", 1)
