"""What a process has open of one LOCATION: the replica and, in a cluster, the connections to the node.

A site is shared by all threads and cache objects of the process; process.py keeps one for each LOCATION. A forked child
never touches what it inherited: the site opens everything again there. Must not know settings, nor Django's caches.

The clients are imported when they are first needed: protobuf comes with them, which is the larger part of what the
backend takes of a worker's memory and start-up time.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Generic, TypeVar

from django_hacache.exceptions import ConfigurationError, ReplicaError
from django_hacache.link.address import SOCKET_NAME
from django_hacache.replica import fork
from django_hacache.replica.control import FILE_NAME as PAGE_NAME
from django_hacache.replica.control import START_NS
from django_hacache.replica.leased_reader import LeasedReader
from django_hacache.replica.node_lock import Occupied, ensure_unoccupied
from django_hacache.replica.replica import Replica
from django_hacache.system.directory import is_there
from django_hacache.system.platform import monotonic, process_age_ns
from django_hacache.worker.breaker import CircuitBreaker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django_hacache.link.asynchronous import AsyncNodeClient
    from django_hacache.link.blocking import NodeClient
    from django_hacache.replica.control import ControlPage
    from django_hacache.system.forks import ForkWatch
    from django_hacache.worker.direct import DirectWrites

Opened = TypeVar("Opened", Replica, LeasedReader)

# How long a thread waits for another one that opens what both need.
OPENING_WAIT_S, OPENING_LOOK_S = 10.0, 0.001


class Site(Generic[Opened]):
    """A LOCATION as this process has it open."""

    def __init__(self, directory: Path, map_size: int, forks: ForkWatch) -> None:
        """Take the directory of the LOCATION, the size of the replica's map (bytes), and what notices a fork."""
        self._directory = directory
        self._map_size = map_size
        self._forks = forks
        self._same_process = forks.mark
        self._open_nothing()

    def _open_nothing(self) -> None:
        # Whether the settings have changed since somebody asked for this site.
        self.is_outdated = False
        self._opening = threading.Lock()
        self._reader: Opened | None = None
        self._released: Callable[[], Opened | None] = _nothing

    @property
    def reader(self) -> Opened:
        """What reads the replica, opened. Raises what opening it raises."""
        if not self._same_process[0]:
            self._forks.notice()
        return self._reader or self._open()

    def _open(self) -> Opened:
        # LMDB must not open a file twice in one process. Without `_released`:
        # 1. thread A is in a long read; 2. the settings change, and release() drops the reader, which A's read keeps
        # open; 3. thread B asks for the reader and opens the same file again.
        # So B is given the reader that A still has. It closes itself when nobody has it any more.
        self._await_turn()
        with self._opening:
            self._reader = self._reader or self._released()
            if self._reader is None:
                self._reader = self._opened()
            return self._reader

    def _opened(self) -> Opened:
        raise NotImplementedError

    def _await_turn(self) -> None:
        """Wait until nobody opens, for a bounded time: waiting for the lock itself could be for ever.

        To a lock, greenlets that were patched in late are all one thread; and a signal handler may have interrupted the
        very thread that opens.
        """
        deadline = monotonic() + OPENING_WAIT_S
        while self._opening.locked():
            if monotonic() > deadline:
                raise ReplicaError(
                    f"what is needed of {self._directory} is being opened for {OPENING_WAIT_S:.0f} s, by another "
                    "thread or by what a signal handler has interrupted"
                )
            time.sleep(OPENING_LOOK_S)

    @property
    def is_abandoned(self) -> bool:
        """Whether something is open, and nobody is likely to ask for it again."""
        return self._has_something_open and (self.is_outdated or not is_there(self._directory))

    @property
    def _has_something_open(self) -> bool:
        return self._reader is not None

    def finish(self) -> None:
        """Wait for what would be lost with this process."""

    def close(self) -> None:
        """Close what can be closed from here. No other thread may be reading."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def release(self) -> None:
        """Leave the reader to the reads that are under way: it closes itself with the last one."""
        if self._reader is not None:
            self._released = weakref.ref(self._reader)
        self._reader = None

    def leave_inherited(self) -> None:
        """In a forked child: begin anew."""
        if self._reader is not None:
            self._reader.abandon()
        self._open_nothing()


class StandaloneSite(Site[Replica]):
    """A LOCATION without a node: every process writes to the replica itself."""

    def _opened(self) -> Replica:
        """Open the replica. Raises ReplicaError, and ConfigurationError where a node serves the LOCATION."""
        # The other hosts would never see what this process wrote beside a node.
        try:
            ensure_unoccupied(self._directory)
        except Occupied as node:
            raise ConfigurationError(
                f"a node (process {node.pid}) serves {self._directory}, and HA_MODE is not true here: expected the "
                "settings and the environment of that node, or another LOCATION"
            ) from None
        return Replica.open(self._directory, writable=True, map_size=self._map_size, reserves=True)


class ClusterSite(Site[LeasedReader]):
    """A LOCATION that a node serves: leased reads, connections to the node, circuit breaker.

    Where there is no node, every read is a miss.
    """

    def _open_nothing(self) -> None:
        super()._open_nothing()
        self._client: NodeClient | None = None
        self._client_of_loop: dict[asyncio.AbstractEventLoop, AsyncNodeClient] = {}
        self.direct: DirectWrites | None = None
        """The writes that nobody waits for, once there was one."""
        # next() on it is one step of C: neither another thread nor a signal handler is given the same name.
        self._request_names = map(f"{os.urandom(8).hex()}%016x".__mod__, itertools.count())
        self.breaker = CircuitBreaker(self._writable_until, self._writable)

    def _opened(self) -> LeasedReader:
        return LeasedReader(self._directory, map_size=self._map_size)

    def request_name(self) -> str:
        """Return a req_id that no request of any process has had."""
        if not self._same_process[0]:
            self._forks.notice()
        return next(self._request_names)

    @property
    def life(self) -> object:
        """An object of this process: a forked child has another one."""
        if not self._same_process[0]:
            self._forks.notice()
        return self._request_names

    def client(self) -> NodeClient:
        """Return the connections of all threads to the node."""
        if not self._same_process[0]:
            self._forks.notice()
        client = self._client
        if client is None:
            from django_hacache.link.blocking import NodeClient  # noqa: PLC0415 - see the module's docstring

            # Two threads may both make one: the connections of the first are closed after its first request.
            client = self._client = NodeClient(
                self._directory / SOCKET_NAME, self._node_is_gone, self._node_alive_at
            )
        return client

    def direct_writes(self) -> DirectWrites:
        """Return the writes that nobody waits for, those of all threads and event loops."""
        if not self._same_process[0]:
            self._forks.notice()
        return self.direct or self._begin_direct_writes()

    def _begin_direct_writes(self) -> DirectWrites:
        from django_hacache.worker.direct import DirectWrites  # noqa: PLC0415 - see the module's docstring

        client = self.client()
        self._await_turn()
        with self._opening:
            self.direct = self.direct or DirectWrites(client.take, client.give_back, self.breaker)
            return self.direct

    def async_client(self) -> AsyncNodeClient:
        """Return the connection of the running event loop to the node."""
        if not self._same_process[0]:
            self._forks.notice()
        loop = asyncio.get_running_loop()
        return self._client_of_loop.get(loop) or self._connect(loop)

    def _connect(self, loop: asyncio.AbstractEventLoop) -> AsyncNodeClient:
        from django_hacache.link.asynchronous import AsyncNodeClient  # noqa: PLC0415 - see the module's docstring

        self._await_turn()
        with self._opening:
            # async_to_sync and asyncio.run make a new loop each time, and nobody says when one has ended.
            self._abandon_ended_loops()
            client = self._client_of_loop[loop] = AsyncNodeClient(
                self._directory / SOCKET_NAME, self._node_is_gone, self._node_alive_at
            )
            return client

    def since(self) -> tuple[int, int]:
        """Return the log index that this host had applied a moment ago, and the generation that it is of."""
        page = self.reader.control
        return page.since if page is not None else (0, 0)

    # What the node says of itself in its control page

    def _page(self) -> ControlPage | None:
        page = self.reader.control
        if page is not None and page.stale():
            # Somebody wiped the directory: the next look finds the page of the node that serves it now.
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
            # Where no node has been since LOCATION was made, one may start at the same time as this process.
            return process_age_ns() > START_NS and not is_there(self._directory / PAGE_NAME)
        return not page.expected()

    def _node_alive_at(self) -> int:
        page = self._page()
        return page.alive_at_ns if page is not None else 0

    # Closing

    @property
    def _has_something_open(self) -> bool:
        return super()._has_something_open or self._client is not None or bool(self._client_of_loop)

    def close(self) -> None:
        """Close what can be closed from here: the replica, connections without a request, those of ended loops."""
        super().close()
        self._close_connections()
        self._client_of_loop = {}

    def release(self) -> None:
        """Leave what is in use to its users, and close the rest."""
        super().release()
        self._close_connections()

    def finish(self) -> None:
        """Wait a moment for the answers to direct writes: the node drops what it has not read of an ended process."""
        direct, self.direct = self.direct, None
        if direct is not None:
            direct.finish()

    def _close_connections(self) -> None:
        """Close those of threads, each after the request that is under way on it, and those of ended loops."""
        self.finish()
        client, self._client = self._client, None
        if client is not None:
            client.close()
        self._abandon_ended_loops()

    def _abandon_ended_loops(self) -> None:
        for ended in [loop for loop in self._client_of_loop if loop.is_closed()]:
            self._client_of_loop.pop(ended).abandon()

    def leave_inherited(self) -> None:
        """In a forked child: begin anew."""
        if self.direct is not None:
            self.direct.abandon()
        if self._client is not None:
            self._client.close()  # the parent's descriptors stay open
        # Leave the loops' connections open: closing one could remove it from the parent's event loop.
        fork.leak(self._client_of_loop)
        super().leave_inherited()


def _nothing() -> None:
    """What a weak reference returns when its object is gone."""
