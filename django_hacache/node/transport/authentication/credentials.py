"""What the opener of a stream says of itself, and the options of gRPC. Knows no messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django_hacache.conf import ClusterConfig

AUTHORIZATION = "authorization"
ADDR_KEY = "hacache-addr"
VERSION_KEY = "hacache-version"
HOSTS_KEY = "hacache-hosts"
EXTENSION_VERSION = 3
"""Of what nodes say to each other. It grows with every change that a node of an earlier one would misunderstand."""

# The largest entry of the log and what is around it: validation.ENTRY_BYTES_MAX, and the 16 MiB of earlier versions
# that may be in a log. A value that is too large is answered by a sentence up to here, beyond by the end of the stream.
# Who has the token can make a node keep so much for each stream that it opens.
RECEIVE_BYTES = 18 << 20
UNAUTHENTICATED_METADATA_BYTES = 16 << 10
IDLE_MS = 10_000


def metadata(token: str, addr: str, hosts: Iterable[str] = ()) -> tuple[tuple[str, str], ...]:
    """What a node says of itself when it opens a stream."""
    return (
        (AUTHORIZATION, token),
        (ADDR_KEY, addr),
        (VERSION_KEY, str(EXTENSION_VERSION)),
        (HOSTS_KEY, ",".join(hosts)),
    )


def token_in(given: Iterable[tuple[str, str | bytes]]) -> bytes:
    """The token that the metadata carries; empty where it carries none, or more than one."""
    offered = [value for key, value in given if key == AUTHORIZATION]
    if len(offered) != 1:
        return b""
    value = offered[0]
    return value if isinstance(value, bytes) else value.encode()


def version_of(given: Iterable[tuple[str, str | bytes]]) -> int:
    """The version that the opener of a stream speaks; 0 where it says none."""
    told = next((str(value) for key, value in given if key == VERSION_KEY), "")
    return int(told) if told.isascii() and told.isdecimal() and len(told) < 9 else 0


def _keepalive(config: ClusterConfig) -> list[tuple[str, int]]:
    return [
        ("grpc.keepalive_time_ms", int(config.keepalive_interval_s * 1000)),
        ("grpc.keepalive_timeout_ms", int(config.keepalive_timeout_s * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.max_receive_message_length", RECEIVE_BYTES),
        ("grpc.max_send_message_length", RECEIVE_BYTES),
        ("grpc.max_metadata_size", UNAUTHENTICATED_METADATA_BYTES),
    ]


def server_options(config: ClusterConfig) -> list[tuple[str, int]]:
    return [
        *_keepalive(config),
        # Peers ping as often as they are configured to: that is no reason to send them away.
        ("grpc.http2.min_ping_interval_without_data_ms", 500),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 500),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.server_handshake_timeout_ms", 5000),
        # A connection without a stream is a stranger's, or of somebody who is about to leave.
        ("grpc.max_connection_idle_ms", IDLE_MS),
        ("grpc.max_concurrent_streams", 256),
        ("grpc.so_reuseport", 0),
    ]


def channel_options(config: ClusterConfig, expected_name: str = "") -> list[tuple[str, int | str]]:
    options: list[tuple[str, int | str]] = [
        *_keepalive(config),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
        ("grpc.enable_http_proxy", 0),
    ]
    if expected_name:
        options.append(("grpc.ssl_target_name_override", expected_name))
    return options
