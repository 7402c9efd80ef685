"""The rules of the cluster's settings that need more than one value, or a file.

They apply in HA_MODE only: a half-written cluster configuration must not stop a standalone site. Must not know a cache
alias.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from django_hacache.conf.files import PEM_BYTES_MAX, UnfitFile, content_of
from django_hacache.conf.hosts import hosts_called, is_loopback, which_host
from django_hacache.conf.problems import Findings, Id
from django_hacache.conf.redaction import listed, shown_file
from django_hacache.conf.tokens import check_tokens
from django_hacache.system.interruption import ensure_own

if TYPE_CHECKING:
    from django_hacache.conf.config import ClusterConfig
    from django_hacache.conf.sources import Source


def check_cluster(config: ClusterConfig, source: Source, findings: Findings) -> None:
    if not config.ha_mode:
        _check_standalone(config, source, findings)
        return
    if "HA_HOSTS" not in source.failed:
        _check_hosts(config, source, findings)
    node = (config.node_token, *config.node_token_fallbacks)
    check_tokens(config.client_tokens, node, source, findings)
    _check_tls(config, source, findings)
    _check_times(config, source, findings)


def _check_standalone(config: ClusterConfig, source: Source, findings: Findings) -> None:
    # HA_MODE=false is meant. Where it was forgotten or misspelt, every host has a cache of its own and nobody notices.
    if config.hosts and source.origin_of("HA_MODE") == "the default" and "HA_MODE" not in source.failed:
        findings.add(
            Id.STANDALONE_HOSTS,
            f"HA_HOSTS is set, in {source.origin_of('HA_HOSTS')}, and HA_MODE is not: the cache is standalone, and "
            "every host has its own.",
            "Set HA_MODE to true for a cluster, or to false.",
        )


def _check_hosts(config: ClusterConfig, source: Source, findings: Findings) -> None:
    origin = source.origin_of("HA_HOSTS")
    addrs = [host.addr for host in config.hosts]
    hosts = listed(addrs)
    if not addrs:
        findings.add(
            Id.HOSTS_MISSING,
            "HA_HOSTS is not set, neither in settings.HACACHE nor in the environment: expected every host "
            "of the cluster as scheme://host:port, since HA_MODE is true.",
            "List the hosts, or set HA_MODE to false.",
        )
        return
    for addr, count in Counter(addrs).items():
        if count > 1:
            findings.add(
                Id.DUPLICATE_HOST,
                f"HA_HOSTS is '{hosts}', from {origin}: expected every host once, "
                f"{addr} is there {count} times.",
                "Remove the duplicate.",
            )
    _check_count(len(set(addrs)), hosts, origin, findings)
    if "CACHE_TLS" not in source.failed:
        _check_schemes(config, origin, findings)
    if "HOSTNAME_OVERWRITE" not in source.failed:
        _check_identity(config, source, findings)


def _check_count(count: int, hosts: str, origin: str, findings: Findings) -> None:
    if count == 2:
        findings.add(
            Id.TWO_HOSTS,
            f"HA_HOSTS is '{hosts}', from {origin}: expected 1, 3, 5 or 7 hosts. A majority of two is "
            "two: the loss of either host would stop the cache.",
            "Add a third host.",
        )
    elif count % 2 == 0 or count > 7:
        findings.add(
            Id.HOST_COUNT,
            f"HA_HOSTS, from {origin}, has {count} hosts: 3, 5 or 7 are better. An even number survives "
            "no more failures than one host less, and every further host makes writes slower.",
            "Use 3, 5 or 7 hosts.",
        )


def _check_schemes(config: ClusterConfig, origin: str, findings: Findings) -> None:
    expected = "http" if config.tls is None else "https"
    wrong = [f"{host.scheme}://{host.addr}" for host in config.hosts if host.scheme != expected]
    if wrong:
        findings.add(
            Id.SCHEME_MISMATCH,
            f"HA_HOSTS, from {origin}, has {listed(wrong)}: expected the scheme {expected}, since "
            f"CACHE_TLS is {'false' if config.tls is None else 'true'}.",
            "Change the scheme or CACHE_TLS.",
        )
    exposed = [host.addr for host in config.hosts if not is_loopback(host.name)]
    if config.tls is None and exposed:
        findings.add(
            Id.PLAIN_TEXT,
            f"CACHE_TLS is false: the token and every cached value reach {listed(exposed)} in plain text, or "
            "whoever listens there while a node is down.",
            "Set CACHE_TLS to true, unless something else encrypts the network between the hosts.",
        )


def _check_identity(config: ClusterConfig, source: Source, findings: Findings) -> None:
    found = hosts_called(config.hostname, config.hosts)
    if len(found) == 1 or len(set(config.hosts)) < len(config.hosts):
        return
    message = which_host(config.hostname, config.hosts, found)
    if ":" in config.hostname:
        origin = source.origin_of("HOSTNAME_OVERWRITE")
        findings.add(
            Id.NOT_A_HOST, f"{message} It comes from {origin}.", "Correct HOSTNAME_OVERWRITE or HA_HOSTS."
        )
    else:
        findings.add(
            Id.WHICH_HOST,
            message,
            "Set HOSTNAME_OVERWRITE to this host's entry, or start the node with --addr. "
            "A machine that runs no node may ignore this.",
        )


def _check_tls(config: ClusterConfig, source: Source, findings: Findings) -> None:
    if config.tls is None:
        return
    pair = ("CACHE_TLS_CLIENT_CERT", "CACHE_TLS_CLIENT_KEY")
    if source.failed & {*pair, "CACHE_TLS_CA_CLIENT"}:
        return
    cert, key = config.tls.client_cert, config.tls.client_key
    if (cert is None) != (key is None):
        given, missing = pair if key is None else reversed(pair)
        findings.add(
            Id.TLS_INCOMPLETE,
            f"{missing} is not set, but {given} is {shown_file(cert or key or Path())}, from "
            f"{source.origin_of(given)}: expected both or none.",
            f"Set {missing}, or remove {given}.",
        )
    elif config.tls.ca_client is not None and cert is None:
        findings.add(
            Id.TLS_INCOMPLETE,
            f"CACHE_TLS_CLIENT_CERT is not set, but CACHE_TLS_CA_CLIENT is {shown_file(config.tls.ca_client)}, from "
            f"{source.origin_of('CACHE_TLS_CA_CLIENT')}: expected a client certificate, since every node "
            "demands one of the others.",
            "Set CACHE_TLS_CLIENT_CERT and CACHE_TLS_CLIENT_KEY, or remove CACHE_TLS_CA_CLIENT.",
        )


def check_tls_files(config: ClusterConfig, source: Source, findings: Findings) -> None:
    """Report every TLS file that a node could not use."""
    tls = config.tls
    if tls is None or not config.ha_mode:
        return
    files = {
        "CACHE_TLS_SERVER_CERT": tls.server_cert,
        "CACHE_TLS_SERVER_KEY": tls.server_key,
        "CACHE_TLS_CLIENT_CERT": tls.client_cert,
        "CACHE_TLS_CLIENT_KEY": tls.client_key,
        "CACHE_TLS_CA_SERVER": tls.ca_server,
        "CACHE_TLS_CA_CLIENT": tls.ca_client,
    }
    for name, path in files.items():
        flaw = None if path is None else _flaw_of_pem(path)
        if path is not None and flaw:
            findings.add(
                Id.TLS_FILE,
                f"{name} is {shown_file(path)}, from {source.origin_of(name)}: expected a PEM file that this process "
                f"can read, {flaw}.",
                f"Correct {name} or the file, or set CACHE_TLS to false.",
            )


def _flaw_of_pem(path: Path) -> str | None:
    try:
        content, _ = content_of(path, PEM_BYTES_MAX)
    except UnfitFile as unfit:
        return f"but {unfit}"
    except OSError as error:
        ensure_own(error)
        return f"but: {error.strerror}"
    return None if b"-----BEGIN " in content else "but it has no PEM block"


def _check_times(config: ClusterConfig, source: Source, findings: Findings) -> None:
    lower, upper = config.reconnect_lower_ms, config.reconnect_upper_ms
    places = [source.origin_of(f"CACHE_RECONNECT_TIMEOUT_{end}") for end in ("LOWER", "UPPER")]
    if lower > upper:
        findings.add(
            Id.RECONNECT_ORDER,
            f"CACHE_RECONNECT_TIMEOUT_LOWER is {lower} ms, from {places[0]}: expected at most "
            f"CACHE_RECONNECT_TIMEOUT_UPPER, which is {upper} ms, from {places[1]}.",
            "Raise the upper time or lower the lower one.",
        )
    if config.election_timeout_s * 1000 < upper:
        findings.add(
            Id.ELECTION_TIMEOUT,
            f"CACHE_ELECTION_TIMEOUT is {config.election_timeout_s:g} s, from "
            f"{source.origin_of('CACHE_ELECTION_TIMEOUT')}: expected not less than "
            f"CACHE_RECONNECT_TIMEOUT_UPPER ({upper} ms), since elections may end before the hosts connect.",
            "Raise CACHE_ELECTION_TIMEOUT or lower CACHE_RECONNECT_TIMEOUT_UPPER.",
        )
