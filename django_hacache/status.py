"""The status of the cluster as this host's node tells it: for people, monitoring and the admin's page.

Changes nothing. Must not know gRPC, nor how a status is shown.
"""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from django.core.cache import DEFAULT_CACHE_ALIAS

from django_hacache.conf.cluster import cluster_config
from django_hacache.conf.options import node_caches, read_aliases
from django_hacache.conf.problems import Findings
from django_hacache.exceptions import ConfigurationError, HACacheError, ReplicaError, RequestRefused
from django_hacache.link.address import SOCKET_NAME
from django_hacache.replica.eviction import map_size_for
from django_hacache.replica.pair import has_replica
from django_hacache.system.interruption import ensure_own
from django_hacache.system.platform import monotonic
from django_hacache.system.printable import printable
from django_hacache.worker import process
from django_hacache.worker.sites import ClusterSite, StandaloneSite

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from google.protobuf.message import Message

    from django_hacache.conf import CacheOptions
    from django_hacache.wire import cache_pb2 as pb

V = TypeVar("V")


class Mode(enum.StrEnum):
    CLUSTER = "cluster"
    STANDALONE = "standalone"


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads. `election_ts` is the node's own stamp of that election, to tell one from the next."""

    addr: str
    election_ts: int
    connected: bool


@dataclass(frozen=True, slots=True)
class Bound:
    """Something that a host keeps within a limit; the table "What is bounded" of architecture.md explains each.

    `outgoing_bytes` are those of the peer to which most waits to be sent.
    """

    name: str
    used: int
    limit: int

    @property
    def words(self) -> str:
        """The name for people."""
        return self.name.replace("_", " ")

    @property
    def in_bytes(self) -> bool:
        return self.name.endswith("_bytes")


@dataclass(frozen=True, slots=True)
class Transfer:
    """State on its way from the leader to a host that the log no longer reaches."""

    peer: str
    incoming: bool
    bytes: int
    entries: int
    total_entries: int
    elapsed_ms: int

    @property
    def percent(self) -> int:
        return min(100 * self.entries // max(self.total_entries, 1), 100)

    @property
    def bytes_per_second(self) -> int:
        return self.bytes * 1000 // max(self.elapsed_ms, 1)


@dataclass(frozen=True, slots=True)
class HostStatus:
    """One host as the node that was asked knows it; zeros where it is not connected."""

    addr: str
    role: str
    connected: bool
    commit_index: int
    applied_index: int
    uptime_secs: int
    entries: int
    lease_ms: int
    fresh: bool
    bounds: tuple[Bound, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    lanes: tuple[str, ...] = ()
    skipped_effects: int = 0
    lost_writes: int = 0
    wrong_tokens: int = 0
    longest_turn_ms: int = 0

    @property
    def is_base(self) -> bool:
        """Whether it is no node but a program of the base protocol: it has no vote."""
        return self.role == "base_protocol"

    @property
    def uptime(self) -> str:
        """The uptime in its two largest units."""
        minutes, seconds = divmod(self.uptime_secs, 60)
        hours, minutes = divmod(minutes, 60)
        days, hours = divmod(hours, 24)
        if days:
            return f"{days}d {hours}h"
        if hours:
            return f"{hours}h {minutes}m"
        return f"{minutes}m {seconds}s" if minutes else f"{seconds}s"


@dataclass(frozen=True, slots=True)
class OtherHosts:
    """A node that takes no part in the cluster.

    Its HA_HOSTS is another list, `hosts`; or else it speaks `version` of the protocol between nodes, which is another.
    """

    addr: str
    hosts: tuple[str, ...]
    version: int | None = None

    @property
    def sentence(self) -> str:
        """Say for people what is wrong."""
        if self.version is not None:
            return f"{self.addr} takes no part: it is of another release of django_hacache (protocol {self.version})"
        return f"{self.addr} takes no part: its HA_HOSTS is another list, {', '.join(self.hosts)}"


@dataclass(frozen=True, slots=True)
class OtherLimit:
    """A limit of a cache that differs between the host `addr` (`there`) and the one that was asked (`here`).

    None: no limit.
    """

    addr: str
    cache: str
    limit: str
    there: int | None
    here: int | None

    @property
    def sentence(self) -> str:
        """Say for people what is wrong."""
        there, here = ("none" if value is None else value for value in (self.there, self.here))
        return (
            f"{self.addr} has another {self.limit} for the cache {self.cache!r}: {there}, and this host {here}. Those "
            "of the leader count"
        )


@dataclass(frozen=True, slots=True)
class CacheStatus:
    """One alias in this host's replica. Entries that have expired and are not yet reclaimed count too."""

    name: str
    entries: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Status:
    """The state of one LOCATION.

    health, quorum, term: None in standalone mode, and where no node answers.
    error: why no node answers, or why a standalone cache cannot be used; empty where all is well.
    reads: why the reads of this process are misses although the node may be well; empty where they are not.
    stored: False where there is no replica yet, as before the first use of a standalone cache.
    """

    mode: Mode
    location: str
    error: str = ""
    reads: str = ""
    stored: bool = True
    addr: str = ""
    health: str | None = None
    quorum: bool | None = None
    term: int | None = None
    leader: Leader | None = None
    hosts: tuple[HostStatus, ...] = ()
    caches: tuple[CacheStatus, ...] = ()
    other_hosts: tuple[OtherHosts, ...] = ()
    other_limits: tuple[OtherLimit, ...] = ()

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """The bounds of the host that was asked."""
        return next((host.bounds for host in self.hosts if host.addr == self.addr), ())

    @property
    def transfers(self) -> list[tuple[str, Transfer]]:
        """The transfers that go on, once each, with the host that told of it: the receiver where both did."""
        told = [(host.addr, transfer) for host in self.hosts for transfer in host.transfers]
        receiving = {addr for addr, transfer in told if transfer.incoming}
        return [(addr, one) for addr, one in told if one.incoming or one.peer not in receiving]

    def as_json(self) -> dict[str, Any]:
        """The same as values that JSON has."""
        return asdict(self)


def locations() -> list[Path]:
    """Return the directories of all aliases of this backend, each once. Raises ConfigurationError."""
    findings = Findings()
    aliases = read_aliases(findings)
    findings.raise_errors()
    return sorted({options.location for options in aliases.values()})


def read_status(location: Path, *, timeout_s: float) -> Status:
    """Return what the node of `location` answers, or what the replica shows in standalone mode. Makes no replica.

    timeout_s: how long to wait for the node. One that does not answer gives a Status with an error.
    Raises ConfigurationError where the settings are wrong.
    """
    if not cluster_config().ha_mode:
        try:
            if not has_replica(location):
                error = (
                    f"there is no replica in {location}: no process of this machine has used this cache yet"
                )
                return Status(Mode.STANDALONE, str(location), error=error, stored=False)
            return Status(Mode.STANDALONE, str(location), caches=_local_caches(location))
        except ReplicaError as error:
            ensure_own(error)
            return Status(Mode.STANDALONE, str(location), error=str(error))
    reads = _trouble_of_reads(location)
    try:
        return replace(ask_node(location, timeout_s), reads=reads)
    except HACacheError as error:
        ensure_own(error)
        return Status(Mode.CLUSTER, str(location), error=str(error), reads=reads)


def _trouble_of_reads(location: Path) -> str:
    caches = node_caches(location)
    try:
        reader = process.site_of(ClusterSite, location, _map_size(caches)).reader
        # Any read will do: what makes it a miss makes every read one.
        reader.has(next(iter(caches), DEFAULT_CACHE_ALIAS), "any")
    except ConfigurationError as refusal:
        ensure_own(refusal)
        return str(refusal)
    return reader.trouble


def _map_size(caches: Mapping[str, CacheOptions]) -> int:
    return map_size_for(sum(options.size_limit for options in caches.values()))


def _local_caches(location: Path) -> tuple[CacheStatus, ...]:
    caches = node_caches(location)
    replica = process.site_of(StandaloneSite, location, _map_size(caches)).reader
    usages = {name: replica.usage(name) for name in caches}
    return tuple(CacheStatus(name, usage.entries, usage.bytes) for name, usage in usages.items())


def ask_node(location: Path, timeout_s: float) -> Status:
    # Not at the top: the admin imports this module in every worker, and protobuf takes memory and time to start.
    from django_hacache.link.blocking import NodeClient  # noqa: PLC0415
    from django_hacache.wire import cache_pb2 as pb  # noqa: PLC0415

    client = NodeClient(location / SOCKET_NAME)
    try:
        ack = client.request(pb.CacheRequest(status=pb.Status()), deadline=monotonic() + timeout_s)
    finally:
        client.close()
    if ack.WhichOneof("method") != "status_ack":
        raise RequestRefused(
            printable(ack.error.error) or f"the node answered {ack.WhichOneof('method')}, no status"
        )
    return _from_wire(location, ack.status_ack)


def _from_wire(location: Path, ack: pb.StatusAck) -> Status:
    return _read(
        Status,
        ack,
        mode=Mode.CLUSTER,
        location=str(location),
        error="",
        reads="",
        stored=True,
        leader=_read(Leader, ack.leader) if ack.HasField("leader") else None,
        hosts=tuple(
            _read(
                HostStatus,
                host,
                bounds=tuple(_read(Bound, bound) for bound in host.bounds),
                transfers=tuple(_read(Transfer, transfer) for transfer in host.transfers),
                lanes=tuple(map(printable, host.lanes)),
            )
            for host in ack.hosts
        ),
        caches=tuple(_read(CacheStatus, cache) for cache in ack.caches),
        other_hosts=tuple(
            _read(OtherHosts, other, hosts=tuple(map(printable, other.hosts)), version=other.version or None)
            for other in ack.other_hosts
        ),
        other_limits=tuple(
            _read(
                OtherLimit,
                other,
                cache=printable(other.cache_name),
                there=other.there if other.HasField("there") else None,
                here=other.here if other.HasField("here") else None,
            )
            for other in ack.other_limits
        ),
    )


def _read(kind: type[V], message: Message, **known: Any) -> V:
    """Return a dataclass with what is known, and all else from the fields of the message that have its names.

    Other hosts wrote half of the texts: they are made printable.
    """
    names = [field.name for field in fields(kind) if field.name not in known]  # type: ignore[arg-type]
    told = {name: getattr(message, name) for name in names}
    return kind(
        **known,
        **{name: printable(value) if isinstance(value, str) else value for name, value in told.items()},
    )
