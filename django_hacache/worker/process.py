"""What a process shares between its threads and cache objects: open replicas and connections to nodes.

The one place with mutable module state, and with what a fork does to it: a forked child leaves everything it
inherited untouched and opens its own when it first needs it. Python's hook does that at once; a fork without Python's
hooks is noticed wherever a replica or a connection is taken. Knows neither settings nor Django's caches.

The clients are imported when they are first needed: with them comes protobuf, which is the larger part of what the
backend takes of a worker's memory and start-up time.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from django_hacache.exceptions import ConfigurationError, ReplicaError
from django_hacache.link.address import SOCKET_NAME
from django_hacache.replica.control import FILE_NAME as PAGE_NAME
from django_hacache.replica.control import START_NS
from django_hacache.replica.leased import LeasedReader
from django_hacache.replica.node_lock import Occupied, ensure_unoccupied
from django_hacache.replica.replica import Replica
from django_hacache.system.directory import is_there
from django_hacache.system.forks import new_mark
from django_hacache.system.platform import after_fork_in_child, monotonic, process_age_ns
from django_hacache.system.safe_path import real
from django_hacache.worker.breaker import CircuitBreaker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django_hacache.link.asynchronous import AsyncNodeClient
    from django_hacache.link.blocking import NodeClient
    from django_hacache.replica.control import ControlPage

T = TypeVar("T")
Opened = TypeVar("Opened", Replica, LeasedReader)

# How long a thread waits for another one that opens what both need (seconds).
OPENING_WAIT_S, OPENING_LOOK_S = 10.0, 0.001

_same_process = new_mark()


def _await_turn(lock: threading.Lock, directory: Path) -> None:
    """Wait until nobody opens, where waiting for the lock itself could be for ever.

    Greenlets that were patched in late are all one thread to a lock, and a signal handler may have interrupted the
    very thread that opens.
    """
    deadline = monotonic() + OPENING_WAIT_S
    while lock.locked():
        if monotonic() > deadline:
            raise ReplicaError(
                f"what is needed of {directory} is being opened for {OPENING_WAIT_S:.0f} s, by another thread or by "
                "what a signal handler has interrupted"
            )
        time.sleep(OPENING_LOOK_S)


def _nothing() -> None:
    """What a weak reference to something that is gone returns."""


def _ensure_standalone(directory: Path) -> None:
    """What is written behind a node's back is on this host only, and no node ever notices."""
    try:
        ensure_unoccupied(directory)
    except Occupied as node:
        raise ConfigurationError(
            f"a node (process {node.pid}) serves {directory}, and HA_MODE is not true here: expected the settings "
            "and the environment of that node, or another LOCATION"
        ) from None


class _Site(Generic[Opened]):
    """A directory as this process has it open: once, for all threads and cache objects."""

    def __init__(self, directory: Path, map_size: int) -> None:
        self._directory = directory
        self._map_size = map_size
        self._open_nothing()

    def _open_nothing(self) -> None:
        # Nobody has asked for it since the settings have changed.
        self.former = False
        self._lock = threading.Lock()
        self._reader: Opened | None = None
        self._released: Callable[[], Opened | None] = _nothing

    @property
    def reader(self) -> Opened:
        """What reads the directory, opened. Raises what opening it does."""
        if not _same_process[0]:
            _notice_fork()
        return self._reader or self._open()

    def _open(self) -> Opened:
        _await_turn(self._lock, self._directory)
        with self._lock:
            # Before LMDB may open it again, the last read of another thread has to be over.
            self._reader = self._reader or self._released()
            if self._reader is None:
                self._reader = self._opened()
            return self._reader

    def _opened(self) -> Opened:
        raise NotImplementedError

    def close(self) -> None:
        """Close what can be closed from here."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    @property
    def unreachable(self) -> bool:
        """Whether nobody is likely to come back to what is open."""
        return self._holds_any and (self.former or not is_there(self._directory))

    @property
    def _holds_any(self) -> bool:
        return self._reader is not None

    def release(self) -> None:
        """Leave what is open to the reads that are under way: it closes itself with the last one."""
        if self._reader is not None:
            self._released = weakref.ref(self._reader)
        self._reader = None

    def leave_inherited(self) -> None:
        """In a forked child: start anew."""
        if self._reader is not None:
            self._reader.abandon()
        self._open_nothing()


class StandaloneSite(_Site[Replica]):
    """The replica of a location that no node serves: opened once, written by every process itself."""

    def _opened(self) -> Replica:
        """Raise ReplicaError where it cannot be opened, ConfigurationError where a node serves it."""
        _ensure_standalone(self._directory)
        return Replica.open(self._directory, writable=True, map_size=self._map_size)


class ClusterSite(_Site[LeasedReader]):
    """What a worker has open of a location that a node serves: leased reads, connections, circuit breaker.

    Where there is no node, every read is a miss.
    """

    def _open_nothing(self) -> None:
        super()._open_nothing()
        self._client: NodeClient | None = None
        self._of_loop: dict[asyncio.AbstractEventLoop, AsyncNodeClient] = {}
        # One step of C: neither another thread nor a signal handler is given the same one.
        self._names = map(f"{os.urandom(8).hex()}%016x".__mod__, itertools.count())
        self.breaker = CircuitBreaker(self._writable_until, self._writable)

    def _opened(self) -> LeasedReader:
        return LeasedReader(self._directory, map_size=self._map_size)

    def request_name(self) -> str:
        """A name that no request has had, of any process."""
        if not _same_process[0]:
            _notice_fork()
        return next(self._names)

    def client(self) -> NodeClient:
        """The connections of all threads to the node."""
        if not _same_process[0]:
            _notice_fork()
        client = self._client
        if client is None:
            from django_hacache.link.blocking import NodeClient  # noqa: PLC0415 - see the module's docstring

            # Two threads may both come here: then the connections of one are closed after its first request.
            client = self._client = NodeClient(
                self._directory / SOCKET_NAME, self._node_is_gone, self._node_alive_at
            )
        return client

    def async_client(self) -> AsyncNodeClient:
        """The running event loop's connection to the node."""
        if not _same_process[0]:
            _notice_fork()
        loop = asyncio.get_running_loop()
        return self._of_loop.get(loop) or self._connect(loop)

    def _connect(self, loop: asyncio.AbstractEventLoop) -> AsyncNodeClient:
        from django_hacache.link.asynchronous import AsyncNodeClient  # noqa: PLC0415 - see the module's docstring

        _await_turn(self._lock, self._directory)
        with self._lock:
            # async_to_sync and asyncio.run bring a new loop each time; their ends are noticed here.
            self._abandon_ended()
            client = self._of_loop[loop] = AsyncNodeClient(
                self._directory / SOCKET_NAME, self._node_is_gone, self._node_alive_at
            )
            return client

    def _page(self) -> ControlPage | None:
        page = self.reader.control
        if page is not None and page.stale():
            # The directory was wiped: the next look finds the page of the node that serves it now.
            self.reader.forget()
            return None
        return page

    def _writable_until(self) -> int:
        page = self._page()
        return page.writable_until_ns if page is not None else 0

    def _writable(self) -> bool:
        page = self._page()
        return page is not None and page.writable()

    def _node_is_gone(self) -> bool:
        page = self._page()
        if page is None:
            # Where none was here since LOCATION was made, one may begin at the same time as this process.
            return process_age_ns() > START_NS and not is_there(self._directory / PAGE_NAME)
        return not page.expected()

    def _node_alive_at(self) -> int:
        page = self._page()
        return page.alive_at_ns if page is not None else 0

    def since(self) -> tuple[int, int]:
        """The log index that this host had applied a moment ago, and in which generation."""
        page = self.reader.control
        return page.since if page is not None else (0, 0)

    def close(self) -> None:
        """Close what can be closed from here: the replica, connections without a request, those of ended loops."""
        super().close()
        self._close_connections()
        self._of_loop = {}

    def _close_connections(self) -> None:
        """Those of ended loops, and those of threads: with a request under way they are closed after it."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
        self._abandon_ended()

    def _abandon_ended(self) -> None:
        for ended in [known for known in self._of_loop if known.is_closed()]:
            self._of_loop.pop(ended).abandon()

    @property
    def _holds_any(self) -> bool:
        return super()._holds_any or self._client is not None or bool(self._of_loop)

    def release(self) -> None:
        """Leave what is open to whoever is using it, and close the rest."""
        super().release()
        self._close_connections()

    def leave_inherited(self) -> None:
        """In a forked child: start anew."""
        if self._client is not None:
            self._client.close()  # the parent's descriptors stay open
        # Left open and unused: closing a connection could remove it from the parent's event loop.
        _inherited.append(self._of_loop)
        super().leave_inherited()


_AnySite = TypeVar("_AnySite", StandaloneSite, ClusterSite)

_standalone: dict[str, StandaloneSite] = {}
_cluster: dict[str, ClusterSite] = {}
_remembered: dict[str, object] = {}
_inherited: list[object] = []


def standalone_site(directory: Path, map_size: int) -> StandaloneSite:
    """The one site of a directory in this process. `map_size` in bytes counts when it is first asked for."""
    return _site(_standalone, StandaloneSite, directory, map_size)


def cluster_site(directory: Path, map_size: int) -> ClusterSite:
    """The one site of a node's directory in this process."""
    return _site(_cluster, ClusterSite, directory, map_size)


def _site(sites: dict[str, _AnySite], kind: type[_AnySite], directory: Path, map_size: int) -> _AnySite:
    # LMDB must not open a file twice in a process, whatever name it is reached by. The last step may be no link:
    # what is opened is found by the path that was given, step by step.
    name = f"{real(directory.parent)}/{directory.name}"
    site = sites.get(name)
    if site is None:
        _release_unreachable()
        site = sites.setdefault(name, kind(directory, map_size))
    site.former = False
    return site


def _release_unreachable() -> None:
    """Close what was opened for settings or directories that are no more: a test suite may have one a test."""
    if not _same_process[0]:
        _notice_fork()
    for site in _sites():
        if site.unreachable:
            site.release()


def _sites() -> list[StandaloneSite | ClusterSite]:
    return [*_standalone.values(), *_cluster.values()]


def remembered(described: str, make: Callable[[], T]) -> T:
    """Return what `make` returned for a cache of this description when it was first asked for.

    Django makes a new cache object for each thread and each request of an event loop; reading and validating
    its settings takes a hundred times as long as a read.
    """
    if described not in _remembered:
        _remembered[described] = make()
    return cast("T", _remembered[described])


def forget() -> None:
    """Let settings that have changed count. For tests: settings of a running site do not change."""
    _remembered.clear()
    for site in _sites():
        site.former = True


def close() -> None:
    """Close everything; what is needed again is opened again. For tests and commands that end."""
    forget()
    for site in _sites():
        site.close()


# Who notices a fork first, among the threads of the child. By process id: the parent's lock may have been held.
_noticing: dict[int, threading.Lock] = {}


def _notice_fork() -> None:
    """Called in a forked child that ran none of Python's hooks."""
    with _noticing.setdefault(os.getpid(), threading.Lock()):
        if not _same_process[0]:
            _leave_inherited()


def _leave_inherited() -> None:
    for site in _sites():
        site.leave_inherited()
    _same_process[0] = 1


after_fork_in_child(_leave_inherited)
