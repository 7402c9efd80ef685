"""Tokens and certificates that are changed while the cluster works."""

from __future__ import annotations

import signal

from tests.certificates import Authority
from tests.cluster.test_tls import mutual
from tests.node_process import TOKEN
from tests.waiting import eventually

NEW = "another token for tests, long enough for no warning"


def told(host, words, since):
    return words in host.log.read_text()[since:]


def renewed(cluster, says="has read its tokens and certificates again"):
    """Let every node read its files again."""
    seen = [len(host.log.read_text()) for host in cluster.hosts]
    for host, since in zip(cluster.hosts, seen, strict=True):
        host.signal(signal.SIGHUP)
        eventually(lambda host=host, since=since: told(host, says, since))


def restarted(cluster, host):
    """Let one node connect to all others, and they to it, with what they show now."""
    host.signal(signal.SIGTERM)
    host.start()
    cluster.wait()


def test_a_token_and_a_certificate_take_the_place_of_others_without_an_outage(new_cluster, tmp_path):
    authority, tokens = Authority(tmp_path), tmp_path / "tokens"
    node, later = authority.issue("node"), authority.issue("later")
    tokens.write_text(TOKEN)
    files = {"CACHE_AUTH_TOKEN": "", "CACHE_AUTH_TOKEN_FILE": str(tokens)}
    cluster = new_cluster(3, scheme="https", **mutual(authority, node), **files)
    leader = cluster.leader()
    follower, other = cluster.others(leader)
    term = leader.status().term

    later.copy_to(node)
    for lines in ([TOKEN, NEW], [NEW, TOKEN], [NEW]):
        tokens.write_text("\n".join(lines))
        renewed(cluster)
        leader.worker.set("tokens", lines, ack="all")
        restarted(cluster, follower)
        assert other.worker.get("tokens") == follower.worker.get("tokens") == lines

    node.cert.write_text("no certificate")
    renewed(cluster, says="keeps its tokens and certificates")
    assert leader.status().term == term, "nobody had to elect"
    tokens.unlink()
    renewed(cluster, says="CACHE_AUTH_TOKEN_FILE")
    other.worker.set("tokens", "kept", ack="all")
    logs = [host.log.read_text() for host in cluster.hosts]
    assert not any(token in log for log in logs for token in (TOKEN, NEW))
