"""The tokens and certificates of this moment: what this node shows to its peers, and what it takes from others.

Tokens are of two kinds: a node shows the node token, a client the client token. Who shows a client's is no member of
the cluster, whatever address it announces. Where no node token is set both are one. All of it can be renewed at any
time, for whoever comes then.
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
    """What a keyring may take."""

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
        # What gRPC's server goes by; touched by its threads alone.
        self._told = None if secured is None else secured.server

    def prepared(self, config: ClusterConfig) -> Prepared:
        """What `config` says, to be taken; touches nothing of this, so that a thread may do it.

        Raises ConfigurationError where its files are of no use, here or to the other nodes.
        """
        secured = None if config.tls is None else Secured(config.tls)
        flaw = "" if secured is None else handshakes.flaw_of_own(secured)
        if flaw and not self._flaw:
            raise ConfigurationError(f"{flaw}: the other nodes would refuse this one")
        return Prepared(config, secured, flaw)

    def take(self, prepared: Prepared) -> None:
        """Go by it from now on, for new connections."""
        self._flaw = prepared.flaw
        self._take(prepared.config, prepared.secured)

    def _take(self, config: ClusterConfig, secured: Secured | None) -> None:
        self.secured = secured
        self._names = {host.addr: host.name for host in config.hosts}
        # An empty one would be shown by whoever shows none.
        self.node_tokens = tuple(filter(None, config.node_tokens))
        self._client_tokens = tuple(filter(None, config.client_tokens))
        # How a log calls what this node shows.
        self.setting = "CACHE_NODE_TOKEN" if config.node_token else "CACHE_AUTH_TOKEN"

    def server_credentials(self) -> grpc.ServerCredentials:
        """For gRPC's server, which goes with what is renewed. Only with TLS."""
        assert self.secured is not None, "a server without TLS needs none"
        return grpc.dynamic_ssl_server_credentials(
            self.secured.server,
            self._tell_renewed,  # type: ignore[arg-type]  # None: nothing is new
            require_client_authentication=self.secured.is_mutual,
        )

    def _tell_renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """Called by a thread of gRPC at each handshake: what has changed since, None where nothing has."""
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
        """The token that this node shows, and proves to have."""
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
