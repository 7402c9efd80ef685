"""The configuration as frozen values: of the cluster, and of one cache.

Must not know Django, nor where a value came from: a node is given these.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django_hacache.conf.hosts import Host, hosts_called, which_host
from django_hacache.conf.redaction import shown
from django_hacache.exceptions import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

# They belong to the cache, not to an alias: an alias that leaves one out takes the value that another alias sets.
LIMITS = ("SIZE_LIMIT", "MAX_ENTRIES", "CULL_FREQUENCY", "MAX_VALUE_SIZE")


class AckLevel(enum.Enum):
    """When a write is acknowledged. `AckLevel("quorum")` reads a name, in any case; ValueError for others."""

    DIRECT = "direct"  # at once, without waiting
    LEADER = "leader"  # the leader has put it into the order
    ONCE = "once"  # one more node has it
    QUORUM = "quorum"  # a majority has it, and this host's node has applied it
    ALL = "all"  # every node that may be serving reads has applied it

    # Each is one object. Enum's own hash is a step of Python, and every write looks up its level.
    __hash__ = object.__hash__

    @classmethod
    def _missing_(cls, value: object) -> AckLevel:
        found = cls.__members__.get(value.strip().upper()) if isinstance(value, str) else None
        if found is None:
            raise ValueError(f"{shown(value)} is no level of acknowledgement: expected {cls.names()}")
        return found

    @classmethod
    def names(cls) -> str:
        """The sentence that lists them."""
        return "one of " + ", ".join(repr(level.value) for level in cls)


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """The options of one alias. Sizes are in bytes."""

    name: str  # CACHE_NAME, else the alias: the cache's name on the wire and in the replica
    location: Path
    ack_level: AckLevel
    write_timeout_s: float
    ignore_exceptions: bool
    log_ignored_exceptions: bool
    size_limit: int
    max_entries: int | None
    cull_frequency: int
    max_value_bytes: int
    # The first one signs, all verify; none: nothing is signed.
    signing_keys: tuple[bytes, ...] = field(default=(), repr=False)
    # For what can be made again: pages of cache_page, fragments of {% cache %}.
    fill_ack_level: AckLevel = AckLevel.DIRECT


def limits_of(options: CacheOptions) -> dict[str, int | None]:
    """Return the limits of the cache by name: the same for all its aliases."""
    values = (options.size_limit, options.max_entries, options.cull_frequency, options.max_value_bytes)
    return dict(zip(LIMITS, values, strict=True))


@dataclass(frozen=True, slots=True, repr=False)
class TLS:
    """The PEM files and names of TLS. Paths are absolute; `node_config` checks that the files are there.

    It has no repr: somebody may have put a key where its path belongs, and `node_config` has not refused it yet.
    """

    server_cert: Path
    server_key: Path
    client_cert: Path | None
    client_key: Path | None
    ca_server: Path | None
    ca_client: Path | None
    validate_domain: str
    sni_overwrite: str


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """Everything about the cluster that settings or the environment decide."""

    ha_mode: bool
    hosts: tuple[Host, ...]
    hostname: str  # "host:port" where HOSTNAME_OVERWRITE says it, else the operating system's host name
    auth_token: str = field(repr=False)
    tls: TLS | None
    buf_server: int  # unanswered requests of a client
    buf_client: int  # MiB that wait for a peer
    keepalive_interval_s: float
    keepalive_timeout_s: float
    reconnect_lower_ms: int
    reconnect_upper_ms: int
    election_timeout_s: float
    lane_port: int | None = 0  # 0: any free one; None: no lanes
    # A node accepts the fallbacks, too. Without a node token the nodes show each other that of the clients.
    auth_token_fallbacks: tuple[str, ...] = field(default=(), repr=False)
    node_token: str = field(default="", repr=False)
    node_token_fallbacks: tuple[str, ...] = field(default=(), repr=False)

    @property
    def client_tokens(self) -> tuple[str, ...]:
        """The tokens that a client may show."""
        return (self.auth_token, *self.auth_token_fallbacks)

    @property
    def node_tokens(self) -> tuple[str, ...]:
        """The tokens that a node may show; this node shows the first."""
        own = (self.node_token,) if self.node_token else self.client_tokens
        return (*own, *self.node_token_fallbacks)

    def me(self) -> Host:
        """Return the host of HA_HOSTS that this process runs on.

        Raises ConfigurationError where none or several fit.
        """
        found = hosts_called(self.hostname, self.hosts)
        if len(found) != 1:
            raise ConfigurationError(which_host(self.hostname, self.hosts, found))
        return found[0]
