from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from django_hacache.conf import Host
from django_hacache.conf.cluster import cluster_config, node_config
from django_hacache.conf.rules import find_problems
from tests.conf import HOSTS, TOKEN
from tests.conf.errors import error_of

# variable, a good value as the environment has it, the attribute it becomes, the attribute's value
GOOD = [
    ("HA_MODE", "false", "ha_mode", False),
    ("HA_MODE", "on", "ha_mode", True),
    ("HA_HOSTS", "http://127.0.0.1:8001", "hosts", (Host("http", "127.0.0.1", 8001),)),
    ("HOSTNAME_OVERWRITE", "127.0.0.1:8002", "hostname", "127.0.0.1:8002"),
    (
        "CACHE_AUTH_TOKEN",
        "$not-a-reference-to-a-variable-1234",
        "auth_token",
        "$not-a-reference-to-a-variable-1234",
    ),
    ("CACHE_BUF_SERVER", "256", "buf_server", 256),
    ("CACHE_BUF_CLIENT", "1", "buf_client", 1),
    ("CACHE_KEEPALIVE_INTERVAL", "0.5", "keepalive_interval_s", 0.5),
    ("CACHE_KEEPALIVE_TIMEOUT", "20", "keepalive_timeout_s", 20.0),
    ("CACHE_RECONNECT_TIMEOUT_LOWER", "100", "reconnect_lower_ms", 100),
    ("CACHE_RECONNECT_TIMEOUT_UPPER", "1500", "reconnect_upper_ms", 1500),
    ("CACHE_ELECTION_TIMEOUT", "1", "election_timeout_s", 1.0),
    ("CACHE_LANE_PORT", "7101", "lane_port", 7101),
    ("CACHE_LANE_PORT", "Off", "lane_port", None),
]
GOOD_TLS = [
    ("CACHE_TLS_SERVER_CERT", "/etc/a.pem", "server_cert", Path("/etc/a.pem")),
    ("CACHE_TLS_SERVER_KEY", "/etc/a.key", "server_key", Path("/etc/a.key")),
    ("CACHE_TLS_CLIENT_CERT", "/etc/c.pem", "client_cert", Path("/etc/c.pem")),
    ("CACHE_TLS_CLIENT_KEY", "/etc/c.key", "client_key", Path("/etc/c.key")),
    ("CACHE_TLS_CA_SERVER", "/etc/ca.pem", "ca_server", Path("/etc/ca.pem")),
    ("CACHE_TLS_CA_CLIENT", "/etc/ca.pem", "ca_client", Path("/etc/ca.pem")),
    ("CACHE_TLS_CLIENT_VALIDATE_DOMAIN", "cache.example.org", "validate_domain", "cache.example.org"),
    ("CACHE_TLS_SNI_OVERWRITE", "sni.example.org", "sni_overwrite", "sni.example.org"),
]
# variable, a bad value, a part of what the message says it expected
BAD = [
    ("HA_MODE", "ture", "true or false"),
    ("HA_HOSTS", "127.0.0.1:8001", "scheme://host:port"),
    ("HA_HOSTS", "ftp://127.0.0.1:8001", "http or https"),
    ("HA_HOSTS", "http://127.0.0.1", "scheme://host:port"),
    ("HA_HOSTS", "http://127.0.0.1:70000", "1 to 65535"),
    ("HA_HOSTS", "http://127.0.0.1:8001/path", "scheme://host:port"),
    ("HA_HOSTS", "http://[::1::]:8001", "scheme://host:port"),
    (
        "HA_HOSTS",
        "web1:8001,http://web2:8001,web3",
        "entry 1 does not begin with http:// or https://, entry 3",
    ),
    ("HOSTNAME_OVERWRITE", "web1", "host:port"),
    ("HOSTNAME_OVERWRITE", "http://127.0.0.1:8001", "without its scheme"),
    ("HOSTNAME_OVERWRITE", "127.0.0.1:0", "host:port"),
    ("CACHE_TLS", "perhaps", "true or false"),
    ("CACHE_TLS_CLIENT_VALIDATE_DOMAIN", "not/a/domain", "a host name"),
    ("CACHE_TLS_SNI_OVERWRITE", "https://x.org", "a host name"),
    ("CACHE_BUF_SERVER", "0", "a whole number from 1 to 65536"),
    ("CACHE_BUF_CLIENT", "many", "a whole number from 1 to 65536"),
    ("CACHE_BUF_CLIENT", "1.5", "a whole number"),
    ("CACHE_KEEPALIVE_INTERVAL", "0", "seconds, a number from 0.1 to 3600"),
    ("CACHE_KEEPALIVE_TIMEOUT", "nan", "seconds, a number from 0.1 to 3600"),
    ("CACHE_RECONNECT_TIMEOUT_LOWER", "-1", "a whole number from 1 to 60000"),
    ("CACHE_RECONNECT_TIMEOUT_UPPER", "2s", "a whole number from 1 to 60000"),
    ("CACHE_ELECTION_TIMEOUT", "0.9", "seconds, a number from 1 to 60"),
    ("CACHE_LANE_PORT", "70000", "a port from 1 to 65535"),
    ("CACHE_LANE_PORT", "on", "or 'off'"),
]


def test_with_nothing_set_the_cache_is_standalone() -> None:
    config = cluster_config()
    assert not config.ha_mode
    assert config.hosts == ()
    assert config.hostname == socket.gethostname()
    assert (config.buf_server, config.buf_client) == (128, 64)
    assert (config.keepalive_interval_s, config.keepalive_timeout_s) == (5, 5)
    assert (config.reconnect_lower_ms, config.reconnect_upper_ms) == (250, 1000)
    assert config.election_timeout_s == 2


def test_tls_is_on_until_it_is_switched_off(cluster: Any) -> None:
    cluster(CACHE_TLS=None, HA_HOSTS=HOSTS.replace("http:", "https:"))
    tls = cluster_config().tls
    assert tls is not None
    assert tls.server_cert.parts[-2:] == ("tls", "redhac.cert-chain.pem")
    assert tls.server_key.parts[-2:] == ("tls", "redhac.key.pem")
    assert (tls.client_cert, tls.client_key, tls.ca_server, tls.ca_client) == (None, None, None, None)
    assert tls.validate_domain == "redhac.local"
    assert tls.sni_overwrite == ""
    cluster(CACHE_TLS="no")
    assert cluster_config().tls is None


@pytest.mark.parametrize(("name", "text", "attribute", "value"), GOOD)
def test_every_variable_is_read_from_the_environment(
    name: str, text: str, attribute: str, value: object, *, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster(**{name: None})
    monkeypatch.setenv(name, text)
    assert getattr(cluster_config(), attribute) == value


@pytest.mark.parametrize(("name", "text", "attribute", "value"), GOOD_TLS)
def test_every_tls_variable_is_read_from_the_environment(
    name: str, text: str, attribute: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, text)
    assert getattr(cluster_config().tls, attribute) == value


@pytest.mark.parametrize(("name", "value", "expected"), BAD)
def test_a_bad_value_is_named_with_its_variable_and_the_environment(
    name: str, value: str, expected: str, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster(**{name: None})
    monkeypatch.setenv(name, value)
    message = error_of()
    assert message.startswith(f"{name} is {value!r}, from the environment: expected ")
    assert expected in message


@pytest.mark.parametrize(("name", "value", "expected"), BAD)
def test_a_bad_value_is_named_with_its_variable_and_the_settings(
    name: str, value: str, expected: str, cluster: Any
) -> None:
    cluster(**{name: value})
    message = error_of()
    assert message.startswith(f"{name} is {value!r}, from settings.HACACHE: expected ")
    assert expected in message


def test_settings_win_over_the_environment_key_by_key(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.HACACHE = {"CACHE_BUF_SERVER": 7, "CACHE_BUF_CLIENT": None}
    monkeypatch.setenv("CACHE_BUF_SERVER", "8")
    monkeypatch.setenv("CACHE_BUF_CLIENT", "9")
    config = cluster_config()
    assert (config.buf_server, config.buf_client) == (7, 9)


def test_an_empty_text_stands_for_the_default(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.HACACHE = {"CACHE_BUF_SERVER": ""}
    monkeypatch.setenv("CACHE_BUF_SERVER", "8")
    monkeypatch.setenv("CACHE_TLS_CA_SERVER", "")
    config = cluster_config()
    assert config.buf_server == 128
    assert config.tls is not None
    assert config.tls.ca_server is None


def test_settings_take_python_values(cluster: Any) -> None:
    cluster(
        HA_HOSTS=HOSTS.split(","), CACHE_TLS=False, CACHE_ELECTION_TIMEOUT=3, CACHE_TLS_CA_SERVER=Path("/x")
    )
    config = cluster_config()
    assert [host.addr for host in config.hosts] == ["127.0.0.1:8001", "127.0.0.1:8002", "127.0.0.1:8003"]
    assert config.election_timeout_s == 3


@pytest.mark.parametrize("value", [True, None.__class__, 1.5])
def test_a_python_value_of_the_wrong_type_is_refused(value: object, settings: Any) -> None:
    settings.HACACHE = {"CACHE_BUF_SERVER": value}
    assert "CACHE_BUF_SERVER is " in error_of()


def test_a_misspelt_key_is_an_error_that_asks_what_was_meant(settings: Any) -> None:
    settings.HACACHE = {"CACHE_AUTH_TOKN": "x"}
    assert (
        error_of() == "settings.HACACHE has the unknown key 'CACHE_AUTH_TOKN'. Did you mean CACHE_AUTH_TOKEN?"
    )


def test_a_key_like_no_other_is_an_error_that_lists_the_known_ones(settings: Any) -> None:
    settings.HACACHE = {"zzz": "x"}
    assert "Known are CACHE_AUTH_TOKEN, CACHE_AUTH_TOKEN_FALLBACKS" in error_of()


def test_hacache_must_be_a_dict(settings: Any) -> None:
    settings.HACACHE = ["HA_MODE"]
    assert error_of() == "settings.HACACHE is a list: expected a dict."


def test_all_problems_are_raised_at_once(cluster: Any) -> None:
    cluster(CACHE_BUF_SERVER="x", CACHE_BUF_CLIENT="y", HA_HOSTS=None)
    assert len(error_of().splitlines()) == 3


@pytest.mark.parametrize(
    "token", ["pässword-that-is-long-enough-0123", " blank-in-front-0123456789abcdefgh", 12345]
)
def test_a_bad_token_is_refused_and_never_shown(token: object, cluster: Any) -> None:
    cluster(CACHE_AUTH_TOKEN=token)
    message = error_of()
    assert message.startswith(
        "CACHE_AUTH_TOKEN is (not shown), from settings.HACACHE: expected printable ASCII"
    )
    assert str(token).strip() not in message


def test_the_token_is_not_in_the_representation(cluster: Any) -> None:
    cluster()
    assert cluster_config().auth_token == TOKEN
    assert TOKEN not in repr(cluster_config())


def test_a_cluster_needs_a_token(cluster: Any) -> None:
    cluster(CACHE_AUTH_TOKEN=None)
    assert error_of().startswith("CACHE_AUTH_TOKEN is not set")


def test_a_cluster_needs_hosts(cluster: Any) -> None:
    cluster(HA_HOSTS=None)
    assert error_of().startswith("HA_HOSTS is not set")


def test_a_standalone_cache_ignores_a_half_written_cluster(cluster: Any) -> None:
    cluster(HA_MODE=False, CACHE_AUTH_TOKEN=None, HA_HOSTS="https://a:1,https://b:1")
    assert not cluster_config().ha_mode


@pytest.mark.parametrize("count", [1, 3, 4, 5, 6, 7, 8])
def test_any_number_of_hosts_but_two_can_start(count: int, cluster: Any) -> None:
    cluster(HA_HOSTS=[f"http://127.0.0.1:{8001 + n}" for n in range(count)])
    assert len(cluster_config().hosts) == count


def test_two_hosts_are_refused(cluster: Any) -> None:
    cluster(HA_HOSTS="http://127.0.0.1:8001,http://127.0.0.1:8002")
    message = error_of()
    assert message.startswith(
        "HA_HOSTS is '127.0.0.1:8001, 127.0.0.1:8002', from settings.HACACHE: expected 1, 3, 5"
    )


def test_a_duplicate_host_is_refused_in_any_case_of_letters(cluster: Any) -> None:
    cluster(HA_HOSTS="http://a:1,http://A:1,http://b:1,http://c:1", HOSTNAME_OVERWRITE="b:1")
    assert "a:1 is there 2 times" in error_of()


@pytest.mark.parametrize(("tls", "scheme", "expected"), [(True, "http", "https"), (False, "https", "http")])
def test_the_scheme_must_match_tls(tls: bool, scheme: str, expected: str, cluster: Any) -> None:
    cluster(CACHE_TLS=tls, HA_HOSTS=HOSTS.replace("http", scheme))
    message = error_of()
    assert f"{scheme}://127.0.0.1:8001" in message
    assert f"expected the scheme {expected}, since CACHE_TLS is {str(tls).lower()}" in message


def test_the_lower_reconnect_time_is_at_most_the_upper_one(cluster: Any) -> None:
    cluster(CACHE_RECONNECT_TIMEOUT_LOWER=1001)
    message = error_of()
    assert message.startswith(
        "CACHE_RECONNECT_TIMEOUT_LOWER is 1001 ms, from settings.HACACHE: expected at most"
    )
    assert "1000 ms, from the default" in message


def test_a_host_is_shown_as_its_address() -> None:
    assert Host("http", "web1", 80).addr == "web1:80"
    assert Host("http", "::1", 80).addr == "[::1]:80"


def test_ipv6_hosts_are_read(cluster: Any) -> None:
    cluster(HA_HOSTS="http://[::1]:8001", HOSTNAME_OVERWRITE="[::1]:8001")
    assert cluster_config().me() == Host("http", "::1", 8001)


def test_a_node_finds_itself_by_its_address(cluster: Any) -> None:
    cluster(HOSTNAME_OVERWRITE="127.0.0.1:8003")
    assert cluster_config().me().port == 8003


@pytest.mark.parametrize(
    ("own", "listed"),
    [("web1", "web1"), ("WEB1", "web1"), ("web1", "web1.example.org"), ("web1.example.org", "web1")],
)
def test_a_node_finds_itself_by_the_name_of_its_machine(
    own: str, listed: str, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: own)
    cluster(HOSTNAME_OVERWRITE=None, HA_HOSTS=f"http://{listed}:1,http://web10:1,http://web2:1")
    assert cluster_config().me().name == listed


def test_the_exact_name_wins_over_the_same_name_in_another_domain(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "web1")
    cluster(HOSTNAME_OVERWRITE=None, HA_HOSTS="http://web1:1,http://web1.other.org:1,http://web2:1")
    assert cluster_config().me().name == "web1"


def test_a_node_that_is_none_of_the_hosts_is_refused(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    cluster(HOSTNAME_OVERWRITE=None)
    message = error_of(lambda: cluster_config().me())
    assert "'elsewhere' is none of HA_HOSTS (127.0.0.1:8001" in message


def test_a_node_that_is_several_of_the_hosts_is_refused(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "web1")
    cluster(HOSTNAME_OVERWRITE=None, HA_HOSTS="http://web1:1,http://web1:2,http://web2:1")
    message = error_of(node_config)
    assert "'web1' means several of HA_HOSTS (web1:1, web1:2)" in message


def test_an_overwrite_that_is_none_of_the_hosts_is_refused(cluster: Any) -> None:
    cluster(HOSTNAME_OVERWRITE="127.0.0.1:9")
    message = error_of()
    assert "'127.0.0.1:9': expected exactly one of HA_HOSTS" in message
    assert message.endswith("It comes from settings.HACACHE.")


def test_a_node_is_not_needed_where_ha_mode_is_off_and_nothing_else_is_said(settings: Any) -> None:
    settings.HACACHE = {}
    assert "HA_MODE is false" in error_of(node_config)


def test_a_node_may_be_told_its_address(cluster: Any) -> None:
    cluster()
    assert node_config("127.0.0.1:8002").me().port == 8002


@pytest.mark.parametrize("addr", ["127.0.0.1", "127.0.0.1:9"])
def test_a_node_refuses_an_address_that_is_no_host(addr: str, cluster: Any) -> None:
    cluster()
    message = error_of(lambda: node_config(addr))
    assert repr(addr) in message
    assert "--addr" in message


def test_hosts_without_ha_mode_are_a_warning(settings: Any) -> None:
    settings.HACACHE = {"HA_HOSTS": "http://web1:7001", "HA_MOD": True}
    [found] = [problem for problem in find_problems() if problem.id == "django_hacache.W011"]
    assert "HA_HOSTS is set, in settings.HACACHE, and HA_MODE is not" in found.message


def test_hosts_of_a_cache_that_is_said_to_be_standalone_are_none(settings: Any) -> None:
    settings.HACACHE = {"HA_HOSTS": "http://web1:7001", "HA_MODE": False}
    assert not [problem for problem in find_problems() if problem.id == "django_hacache.W011"]
