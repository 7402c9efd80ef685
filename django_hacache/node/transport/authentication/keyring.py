"""Keyring: the tokens and certificates that this node shows, and those that it accepts, at this moment.

A node shows the node token, a client the client token. Who shows the client token is no member of the cluster, whatever
address it announces. Where no node token is set both are one. A renewal replaces all of them, for new connections.
"""

from __future__ import annotations

import enum
import hmac
import logging
from typing import TYPE_CHECKING, NamedTuple

import grpc

from django_hacache.exceptions import ConfigurationError
from django_hacache.node.transport.authentication import handshakes
from django_hacache.node.transport.authentication.tls import Secured

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django_hacache.conf import ClusterConfig
    from django_hacache.node.transport.authentication.certificate_names import Names

logger = logging.getLogger("django_hacache.node")


class Kind(enum.Enum):
    """What a token says of who shows it."""

    STRANGER = "stranger"
    CLIENT = "client"
    NODE = "node"


class Prepared(NamedTuple):
    """Tokens and certificates that were read and found good."""

    config: ClusterConfig
    secured: Secured | None
    flaw: str


class Keyring:
    """Starts with what `config` says. Raises ConfigurationError naming the file that cannot be used."""

    def __init__(self, config: ClusterConfig) -> None:
        secured = None if config.tls is None else Secured(config.tls)
        self._flaw = "" if secured is None else handshakes.flaw_of_own(secured)
        if self._flaw:
            logger.error("%s: the other nodes will refuse this one", self._flaw)
        self._take(config, secured)
        # The certificates that gRPC's server has; its threads alone touch this.
        self._told = None if secured is None else secured.server

    def prepared(self, config: ClusterConfig) -> Prepared:
        """Read what `config` names, for take(). Changes nothing here, so that a thread may call it.

        Raises ConfigurationError where its files are of no use, here or to the other nodes.
        """
        secured = None if config.tls is None else Secured(config.tls)
        flaw = "" if secured is None else handshakes.flaw_of_own(secured)
        if flaw and not self._flaw:
            raise ConfigurationError(f"{flaw}: the other nodes would refuse this one")
        return Prepared(config, secured, flaw)

    def take(self, prepared: Prepared) -> None:
        """Use it from now on, for new connections."""
        self._flaw = prepared.flaw
        self._take(prepared.config, prepared.secured)

    def _take(self, config: ClusterConfig, secured: Secured | None) -> None:
        self.secured = secured
        self._names = {host.addr: host.name for host in config.hosts}
        # An empty token would let in whoever shows none.
        self.node_tokens = tuple(filter(None, config.node_tokens))
        self._client_tokens = tuple(filter(None, config.client_tokens))
        # The setting that the shown token is from, for the log.
        self.setting = "CACHE_NODE_TOKEN" if config.node_token else "CACHE_AUTH_TOKEN"

    def server_credentials(self) -> grpc.ServerCredentials:
        """Credentials of gRPC's server that follow each renewal. Only with TLS."""
        assert self.secured is not None, "a server without TLS needs none"
        return grpc.dynamic_ssl_server_credentials(
            self.secured.server,
            self._tell_renewed,  # type: ignore[arg-type]  # None: nothing is new
            require_client_authentication=self.secured.is_mutual,
        )

    def _tell_renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """The new certificates, None where they are the same. A thread of gRPC asks at each handshake."""
        current = None if self.secured is None else self.secured.server
        if current is self._told:
            return None
        self._told = current
        return current

    def flaw_of_member(self, addr: str, shown: Names) -> str:
        """Why a peer that shows such a certificate is not the host `addr` of the cluster.

        Empty where it is, and where nobody has to show a certificate.
        """
        if self.secured is None or not self.secured.is_mutual:
            return ""
        name = self._names[addr]
        if shown.speak_for(name):
            return ""
        return f"the client certificate of {addr} is not for {name}, as a subject alternative name: it is for {shown}"

    @property
    def shown(self) -> str:
        """The token that this node shows on streams, and proves to have on lanes."""
        return self.node_tokens[0]

    def kind_of(self, offered: bytes) -> Kind:
        """Whose token that is; compared in constant time with each."""
        is_node = _is_among(offered, self.node_tokens)
        is_client = _is_among(offered, self._client_tokens)
        if is_node:
            return Kind.NODE
        return Kind.CLIENT if is_client else Kind.STRANGER


def _is_among(offered: bytes, tokens: Iterable[str]) -> bool:
    found = False
    for token in tokens:
        found |= hmac.compare_digest(offered, token.encode())
    return found
