"""Where this node listens for streams: on the address that HA_HOSTS gives it, or on every interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from django_hacache.conf.hosts import is_loopback
from django_hacache.exceptions import ConfigurationError
from django_hacache.node.transport.authentication import credentials
from django_hacache.node.transport.authentication.keyring import Keyring

if TYPE_CHECKING:
    from django_hacache.conf import ClusterConfig
    from django_hacache.node.transport.streams.server import StreamServer


async def start_server(
    config: ClusterConfig, stream_server: StreamServer, keyring: Keyring | None = None
) -> grpc.aio.Server:
    """Serve on the address that HA_HOSTS gives this node, on all interfaces.

    Raises ConfigurationError where the port is taken.
    """
    server = grpc.aio.server(options=credentials.server_options(config))
    server.add_generic_rpc_handlers((stream_server,))
    me = config.me()
    bind = listening_address(me.name, me.port)
    try:
        if config.tls is None:
            port = server.add_insecure_port(bind)
        else:
            port = server.add_secure_port(bind, (keyring or Keyring(config)).server_credentials())
    except RuntimeError as error:
        raise ConfigurationError(
            f"cannot listen on {bind}: the port is taken, or the address is not this host's. "
            "Does another node run there?"
        ) from error
    if port != me.port:
        raise ConfigurationError(f"cannot listen on {bind}: the port is taken. Does another node run there?")
    await server.start()
    return server


def listening_hosts(name: str) -> str | None:
    """The same for a socket: the address to listen on, None for every interface."""
    return name if is_loopback(name) else None


def listening_address(name: str, port: int) -> str:
    """Loopback for a host of that name, else every interface: a host's name need not be one of its addresses."""
    if is_loopback(name):
        return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
    return f"[::]:{port}"
