"""Connections to the node: a pool a process, one an event loop, none left behind."""

from __future__ import annotations

import asyncio
import threading

from django.core.cache import caches

from django_hacache.worker import process


def test_all_threads_and_aliases_of_a_process_take_their_connections_from_one_pool(small_node, connections):
    process.close()  # what the fixture has made
    caches["default"].set("key", 1)
    caches["second"].set("key", 1)
    thread = threading.Thread(target=lambda: caches["default"].set("key", 2))
    thread.start()
    thread.join()
    assert len(connections()) == 1


def test_the_connections_of_ended_event_loops_are_given_up(small_node, connections):
    cache = caches["default"]
    for number in range(5):
        asyncio.run(cache.aset("key", number))
    assert len(connections()) == 1
    assert cache.get("key") == 4


def test_many_tasks_share_the_connection_of_their_loop(small_node, connections):
    cache = caches["default"]

    async def scenario() -> int:
        await cache.aset("key", 0)
        await asyncio.gather(*(cache.aincr("key") for _ in range(100)))
        return len(connections())

    assert asyncio.run(scenario()) == 1
    assert cache.get("key") == 100
