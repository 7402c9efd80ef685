"""Reads the settings of the cluster: its hosts, how they authenticate, how long they wait.

They come from settings.HACACHE, else from the environment. Must not know a cache alias. The rules that need more than
one value are in cluster_rules.py.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import replace

from django.conf import settings
from django.utils.ipv6 import is_valid_ipv6_address
from environ import Env

from django_hacache.conf import cluster_rules
from django_hacache.conf.config import TLS, ClusterConfig
from django_hacache.conf.hosts import Host
from django_hacache.conf.location import file_path
from django_hacache.conf.parsers import boolean, domain, seconds, whole_number
from django_hacache.conf.problems import Findings, Id
from django_hacache.conf.redaction import listed, shown, shown_name
from django_hacache.conf.sources import Origin, Source, did_you_mean
from django_hacache.conf.tokens import CLIENT, NODE, read_tokens
from django_hacache.exceptions import ConfigurationError

HOST_PORT = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9_.-]+)):(?P<port>[0-9]{1,5})")
HTTP = ("http", "https")


def cluster_config() -> ClusterConfig:
    """Return the validated configuration of the cluster; TLS files are not read, since web workers need none.

    Raises ConfigurationError with a line for every wrong value: the variable, the value, what is expected and where it
    came from.
    """
    findings = Findings()
    config = read_cluster(findings)
    findings.raise_errors()
    return config


def node_config(addr: str | None = None) -> ClusterConfig:
    """Return what `cluster_config` returns, checked for a node as well: its place in HA_HOSTS, its TLS files.

    addr: "host:port" of this node, in place of HOSTNAME_OVERWRITE and the host name.
    Raises ConfigurationError.
    """
    findings = Findings()
    config = read_cluster(findings, with_files=True)
    findings.raise_errors()
    if not config.ha_mode:
        raise ConfigurationError(
            "HA_MODE is false: the cache is standalone and needs no node. Set HA_MODE=true and HA_HOSTS."
        )
    if addr is not None:
        try:
            config = replace(config, hostname=host_port(addr))
        except ValueError as expected:
            raise ConfigurationError(
                f"The address is {shown(addr)}, from --addr: expected {expected}."
            ) from None
    config.me()
    return config


def read_cluster(findings: Findings, *, with_files: bool = False) -> ClusterConfig:
    """Return the configuration with a default for each wrong value; the problems go to `findings`."""
    given = _given(findings)
    source = Source(
        findings,
        [Origin("settings.HACACHE", given), Origin("the environment", os.environ)],
        Id.INVALID_SETTING,
    )
    client = read_tokens(source, findings, CLIENT, with_files=with_files)
    node = read_tokens(source, findings, NODE, with_files=with_files)
    config = ClusterConfig(
        ha_mode=source.read("HA_MODE", boolean, default=False),
        hosts=source.read("HA_HOSTS", host_list, default=()),
        hostname=source.read("HOSTNAME_OVERWRITE", host_port, default=None) or socket.gethostname(),
        auth_token=client[0] if client else "",
        auth_token_fallbacks=client[1:],
        node_token=node[0] if node else "",
        node_token_fallbacks=node[1:],
        tls=_tls(source),
        buf_server=source.read("CACHE_BUF_SERVER", whole_number(1, 65536), default=128),
        buf_client=source.read("CACHE_BUF_CLIENT", whole_number(1, 65536), default=64),
        keepalive_interval_s=source.read("CACHE_KEEPALIVE_INTERVAL", seconds(0.1, 3600), default=5.0),
        keepalive_timeout_s=source.read("CACHE_KEEPALIVE_TIMEOUT", seconds(0.1, 3600), default=5.0),
        reconnect_lower_ms=source.read("CACHE_RECONNECT_TIMEOUT_LOWER", whole_number(1, 60_000), default=250),
        reconnect_upper_ms=source.read(
            "CACHE_RECONNECT_TIMEOUT_UPPER", whole_number(1, 60_000), default=1000
        ),
        # Not below the read lease of 1 s: a follower could vote while the old leader's lease still holds.
        election_timeout_s=source.read("CACHE_ELECTION_TIMEOUT", seconds(1, 60), default=2.0),
        lane_port=source.read("CACHE_LANE_PORT", port_or_off, default=0),
    )
    _refuse_unknown(given, source.names, findings)
    cluster_rules.check_cluster(config, source, findings)
    if with_files:
        cluster_rules.check_tls_files(config, source, findings)
    return config


def _tls(source: Source) -> TLS | None:
    # Read every value, also with TLS off: a wrong one is reported before the day somebody switches TLS on.
    switched_on = source.read("CACHE_TLS", boolean, default=True)
    default_cert, default_key = file_path("tls/redhac.cert-chain.pem"), file_path("tls/redhac.key.pem")
    tls = TLS(
        server_cert=source.read("CACHE_TLS_SERVER_CERT", file_path, default=default_cert),
        server_key=source.read("CACHE_TLS_SERVER_KEY", file_path, default=default_key),
        client_cert=source.read("CACHE_TLS_CLIENT_CERT", file_path, default=None),
        client_key=source.read("CACHE_TLS_CLIENT_KEY", file_path, default=None),
        ca_server=source.read("CACHE_TLS_CA_SERVER", file_path, default=None),
        ca_client=source.read("CACHE_TLS_CA_CLIENT", file_path, default=None),
        validate_domain=source.read("CACHE_TLS_CLIENT_VALIDATE_DOMAIN", domain, default="redhac.local"),
        sni_overwrite=source.read("CACHE_TLS_SNI_OVERWRITE", domain, default=""),
    )
    return tls if switched_on else None


def _given(findings: Findings) -> Mapping[str, object]:
    given = getattr(settings, "HACACHE", None)
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return given
    findings.add(
        Id.INVALID_SETTING,
        f"settings.HACACHE is a {type(given).__name__}: expected a dict.",
        'Write HACACHE = {"HA_MODE": True, ...}.',
    )
    return {}


def _refuse_unknown(given: Mapping[str, object], known: list[str], findings: Findings) -> None:
    for name in given:
        if name not in known:
            findings.add(
                Id.UNKNOWN_SETTING,
                f"settings.HACACHE has the unknown key {shown_name(name)}. {did_you_mean(name, known)}",
                "Correct or remove the key.",
            )


def port_or_off(raw: object) -> int | None:
    """A port, 0 for any free one, or None for "off"."""
    if isinstance(raw, str) and raw.strip().lower() == "off":
        return None
    try:
        return whole_number(0, 65535)(raw)
    except ValueError:
        raise ValueError("a port from 1 to 65535, 0 for any free one, or 'off'") from None


def host_port(raw: object) -> str:
    """ "host:port" in lower case."""
    match = _match_address(raw.strip()) if isinstance(raw, str) else None
    if match is None:
        raise ValueError("host:port, as one of HA_HOSTS has it without its scheme")
    return match[0].lower()


def _match_address(text: str) -> re.Match[str] | None:
    match = HOST_PORT.fullmatch(text)
    if match is None or not 0 < int(match["port"]) < 65536:
        return None
    return match if match["ipv6"] is None or is_valid_ipv6_address(match["ipv6"]) else None


def host_list(raw: object) -> tuple[Host, ...]:
    """The hosts of a text with commas, or of a list."""
    entries = Env.parse_value(raw, list) if isinstance(raw, str) else raw
    if not isinstance(entries, list | tuple):
        raise ValueError("a text or a list of scheme://host:port")  # noqa: TRY004 - a parser has one way to say no
    hosts = [_host(entry) for entry in entries]
    wrong = [
        f"entry {number} {_flaw_of(str(entry).strip())}"
        for number, (entry, host) in enumerate(zip(entries, hosts, strict=True), 1)
        if host is None
    ]
    if wrong:
        raise ValueError(
            "scheme://host:port, several with commas between them, the scheme http or https, the port from 1 to "
            f"65535; {listed(wrong)}"
        )
    return tuple(host for host in hosts if host is not None)


def _flaw_of(entry: str) -> str:
    """Say why the entry is no host, without quoting it: a password may stand there."""
    scheme, found, address = entry.partition("://")
    if not entry:
        return "is empty"
    if not found or scheme.lower() not in HTTP:
        return "does not begin with http:// or https://"
    if "@" in address:
        return "has a user name or a password"
    if "/" in address:
        return "has a path"
    return "has no port" if ":" not in address.rpartition("]")[2] else "is not of that form"


def _host(entry: object) -> Host | None:
    scheme, found, address = str(entry).strip().partition("://")
    match = _match_address(address)
    if not found or scheme.lower() not in HTTP or match is None:
        return None
    return Host(scheme.lower(), (match["ipv6"] or match["name"]).lower(), int(match["port"]))
