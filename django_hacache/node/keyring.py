"""The tokens of this moment: what this node shows to its peers, and what it takes from others.

Two kinds: a node shows the node token, a client the client token. Who shows a client's is no member of the cluster,
whatever address it announces. Where no node token is set both are one.
"""

from __future__ import annotations

import enum
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django_hacache.conf import ClusterConfig


class Kind(enum.Enum):
    """What a token says of who shows it."""

    STRANGER = "stranger"
    CLIENT = "client"
    NODE = "node"


class Keyring:
    """Starts with the tokens of `config`."""

    def __init__(self, config: ClusterConfig) -> None:
        self.node_tokens = config.node_tokens
        self._client_tokens = config.client_tokens
        # How a log calls what this node shows.
        self.setting = "CACHE_NODE_TOKEN" if config.node_token else "CACHE_AUTH_TOKEN"

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
