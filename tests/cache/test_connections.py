"""Connections to the node: a pool a process, one an event loop, none left behind."""

from __future__ import annotations

import asyncio
import threading

from django.core.cache import caches

from django_hacache.worker import process
from tests.connections import connections


def test_all_threads_and_aliases_of_a_process_take_their_connections_from_one_pool(small_node):
    process.close()
    of_others = connections()
    caches["default"].set("key", 1)
    caches["second"].set("key", 1)
    thread = threading.Thread(target=lambda: caches["default"].set("key", 2))
    thread.start()
    thread.join()
    assert len(connections() - of_others) == 1


def test_the_connections_of_ended_event_loops_are_given_up(small_node):
    cache, of_threads = caches["default"], connections()
    for number in range(5):
        asyncio.run(cache.aset("key", number))
    assert len(connections() - of_threads) == 1
    assert cache.get("key") == 4


def test_many_tasks_share_the_connection_of_their_loop(small_node):
    cache, of_threads = caches["default"], connections()

    async def scenario() -> int:
        await cache.aset("key", 0)
        await asyncio.gather(*(cache.aincr("key") for _ in range(100)))
        return len(connections() - of_threads)

    assert asyncio.run(scenario()) == 1
    assert cache.get("key") == 100
