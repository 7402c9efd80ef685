"""Starts and ends a node process: the directory's lock, signals, the event loop."""

from __future__ import annotations

import asyncio
import gc
import logging
import shutil
import signal
import time
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING

from django_hacache.exceptions import ConfigurationError
from django_hacache.link.address import SOCKET_NAME
from django_hacache.node.process import descriptors
from django_hacache.node.process.renewal import Renewal
from django_hacache.node.process.runtime import Node
from django_hacache.replica.control import ControlPage
from django_hacache.replica.eviction import map_size_for
from django_hacache.replica.node_lock import Occupied, occupying
from django_hacache.replica.replica import Replica
from django_hacache.system.directory import ensure_private

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from django_hacache.conf import CacheOptions, ClusterConfig
    from django_hacache.node.process.renewal import Hangups

logger = logging.getLogger("django_hacache.node")

# A node that is full again so soon would be full for ever: its process ends, so that the operator learns of it.
STARTS_OVER_EVERY_S = 60.0
# How many new objects make the garbage collector look at them. Messages hold no cycles: there is little to find.
YOUNG_OBJECTS = 20_000


class End(Enum):
    """How the life of a node ended."""

    STOPPED = "stopped"
    FAILED = "failed"
    FULL = "full"  # it could not apply what is committed, whatever it dropped


def run(
    config: ClusterConfig,
    location: Path,
    caches: Mapping[str, CacheOptions],
    read_again: Callable[[], ClusterConfig],
    hangups: Hangups,
) -> int:
    """Run a node until a signal ends it; returns the exit code. At SIGHUP it takes what `read_again` has of secrets.

    Raises ConfigurationError, ReplicaError or LinkError where it cannot start.
    """
    with _only_node_of(location):
        began = -STARTS_OVER_EVERY_S
        while True:
            end = _run_loop(_serve(config, location, caches, read_again, hangups))
            if end is not End.FULL or time.monotonic() - began < STARTS_OVER_EVERY_S:
                return 0 if end is End.STOPPED else 1
            began = time.monotonic()
            logger.critical("%s starts over as a fresh node: what it held did not fit any more", location)


def _run_loop(main: Coroutine[Any, Any, End]) -> End:
    try:
        import uvloop  # noqa: PLC0415 - only the node wants it, and it may not be installed
    except ImportError:
        return asyncio.run(main)
    end: End = uvloop.run(main)
    return end


async def _serve(
    config: ClusterConfig,
    location: Path,
    caches: Mapping[str, CacheOptions],
    read_again: Callable[[], ClusterConfig],
    hangups: Hangups,
) -> End:
    descriptors.raise_limit()
    size = sum(options.size_limit for options in caches.values())
    replica = Replica.open(location, writable=True, map_size=map_size_for(size), keeps_journal=True)
    page = ControlPage.create(location)
    try:
        node = Node(
            config,
            replica,
            page,
            location / SOCKET_NAME,
            caches,
            shutil.disk_usage(location).total,
        )
        await node.start()
        hangups.go_to(Renewal(node, read_again).ask)
        _log_start(config, node, location, caches)
        _settle_garbage_collector()
        watching = asyncio.ensure_future(descriptors.Watch().run())
        stopping = _stop_signals()
        ends = {asyncio.ensure_future(stopping.wait()), asyncio.ensure_future(node.loop.failed.wait())}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in (*ends, watching):
            end.cancel()
        hangups.go_nowhere()
        await node.stop()
        logger.info("%s has stopped", node.addr)
        if node.loop.starts_over:
            replica.erase()
            return End.FULL
        return End.FAILED if node.loop.failed.is_set() else End.STOPPED
    finally:
        page.revoke()
        replica.close()


def _settle_garbage_collector() -> None:
    """Keep the collector from what the start has made: to look through all of Django takes it milliseconds."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 50)


def _log_start(config: ClusterConfig, node: Node, location: Path, caches: Mapping[str, CacheOptions]) -> None:
    logger.info(
        "%s serves %s in %s, cluster of %d, TLS %s",
        node.addr,
        ", ".join(sorted(caches)),
        location,
        len(config.hosts),
        "on" if config.tls else "off",
    )


def _stop_signals() -> asyncio.Event:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping


@contextmanager
def _only_node_of(location: Path) -> Iterator[None]:
    ensure_private(location).close()
    try:
        with occupying(location):
            yield
    except Occupied as other:
        raise ConfigurationError(
            f"another node (process {other.pid}) already runs on {location}; each host runs one"
        ) from None
