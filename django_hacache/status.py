"""What this host knows of the cluster, asked from its node: for people, monitoring and the admin's page.

Reads only. Knows neither gRPC nor how its answers are shown.
"""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from django_hacache.conf import CacheOptions
    from django_hacache.wire import cache_pb2 as pb


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
    """Something that a host keeps within a limit: `log_bytes`, `uncommitted_entries`, `uncommitted_bytes`,
    `pending_changes`, `pending_bytes`, `recent_requests`, `recent_requests_bytes`, `outgoing_bytes` (of the peer to
    which most waits to be sent), `unread_answers_bytes` and `unfinished_messages_bytes` (of clients
    over gRPC)."""

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
    """A node that the one that was asked takes no part with.

    Its HA_HOSTS names `hosts`, which is another list; or else it speaks `version` of the protocol between nodes.
    """

    addr: str
    hosts: tuple[str, ...]
    version: int | None = None

    @property
    def sentence(self) -> str:
        """What is the matter, for people."""
        if self.version is not None:
            return f"{self.addr} takes no part: it is of another release of django_hacache (protocol {self.version})"
        return f"{self.addr} takes no part: its HA_HOSTS is another list, {', '.join(self.hosts)}"


@dataclass(frozen=True, slots=True)
class OtherLimit:
    """A limit of a cache that another host has another value for than the one that was asked; None: no limit."""

    addr: str
    cache: str
    limit: str
    there: int | None
    here: int | None

    @property
    def sentence(self) -> str:
        """What is the matter, for people."""
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

    `health`, `quorum` and `term` are None where nobody can tell: in standalone mode, and where no node
    answers. `error` says why it does not, and is empty otherwise. `reads` says why the reads of the process that asks
    are misses although the node may be well: it sees what another process of the same container sees. `stored` is
    False where there is no replica
    to look at, as before the first use of a standalone cache.
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
        """Those of the host that was asked."""
        return next((host.bounds for host in self.hosts if host.addr == self.addr), ())

    @property
    def transfers(self) -> list[tuple[str, Transfer]]:
        """The transfers that go on, each with the host that told of it: the one that receives, if it is seen."""
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
    """Ask the node of `location`, or look at the replica itself in standalone mode. Makes no replica.

    timeout_s: how long the node has to answer (seconds). One that does not answer is no exception but a
    Status with an error. Raises ConfigurationError where the settings are wrong.
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
        return replace(_ask_node(location, timeout_s), reads=reads)
    except HACacheError as error:
        ensure_own(error)
        return Status(Mode.CLUSTER, str(location), error=str(error), reads=reads)


def _trouble_of_reads(location: Path) -> str:
    caches = node_caches(location)
    try:
        reader = process.cluster_site(location, _map_size(caches)).reader
        # Any read will do: what is wrong with it is wrong with all.
        reader.has(next(iter(caches), DEFAULT_CACHE_ALIAS), "any")
    except ConfigurationError as refusal:
        ensure_own(refusal)
        return str(refusal)
    return reader.trouble


def _map_size(caches: Mapping[str, CacheOptions]) -> int:
    return map_size_for(sum(options.size_limit for options in caches.values()))


def _local_caches(location: Path) -> tuple[CacheStatus, ...]:
    caches = node_caches(location)
    replica = process.standalone_site(location, _map_size(caches)).reader
    usages = {name: replica.usage(name) for name in caches}
    return tuple(CacheStatus(name, usage.entries, usage.bytes) for name, usage in usages.items())


def _ask_node(location: Path, timeout_s: float) -> Status:
    # Not at the top: the admin imports this module in every worker, and most never ask (see worker/process.py).
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
    """The status as a value. Half of its texts are what other hosts say of themselves."""
    leader = ack.leader
    return Status(
        mode=Mode.CLUSTER,
        location=str(location),
        addr=printable(ack.addr),
        health=printable(ack.health),
        quorum=ack.quorum,
        term=ack.term,
        leader=Leader(printable(leader.addr), leader.election_ts, leader.connected)
        if ack.HasField("leader")
        else None,
        hosts=tuple(
            HostStatus(
                addr=printable(host.addr),
                role=printable(host.role),
                connected=host.connected,
                commit_index=host.commit_index,
                applied_index=host.applied_index,
                uptime_secs=host.uptime_secs,
                entries=host.entries,
                lease_ms=host.lease_ms,
                fresh=host.fresh,
                bounds=tuple(Bound(printable(bound.name), bound.used, bound.limit) for bound in host.bounds),
                transfers=tuple(
                    Transfer(
                        printable(one.peer),
                        one.incoming,
                        one.bytes,
                        one.entries,
                        one.total_entries,
                        one.elapsed_ms,
                    )
                    for one in host.transfers
                ),
                lanes=tuple(map(printable, host.lanes)),
                skipped_effects=host.skipped_effects,
                wrong_tokens=host.wrong_tokens,
                longest_turn_ms=host.longest_turn_ms,
            )
            for host in ack.hosts
        ),
        caches=tuple(CacheStatus(printable(cache.name), cache.entries, cache.bytes) for cache in ack.caches),
        other_hosts=tuple(
            OtherHosts(printable(other.addr), tuple(map(printable, other.hosts)), other.version or None)
            for other in ack.other_hosts
        ),
        other_limits=tuple(
            OtherLimit(
                printable(one.addr),
                printable(one.cache_name),
                printable(one.limit),
                one.there if one.HasField("there") else None,
                one.here if one.HasField("here") else None,
            )
            for one in ack.other_limits
        ),
    )
