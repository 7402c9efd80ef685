"""Connections to the node: a pool a process, one an event loop, none left behind."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from django.core.cache import caches


def site_of(cache: Any) -> Any:
    """What the cache objects of this process share."""
    return cache._site


def test_all_threads_and_aliases_of_a_process_take_their_connections_from_one_pool(small_node):
    client = site_of(caches["default"]).client()
    caches["default"].set("key", 1)
    caches["second"].set("key", 1)
    thread = threading.Thread(target=lambda: caches["default"].set("key", 2))
    thread.start()
    thread.join()
    assert site_of(caches["second"]).client() is client
    assert len(client._idle) == 1


def test_the_connections_of_ended_event_loops_are_given_up(small_node):
    cache = caches["default"]
    for number in range(5):
        asyncio.run(cache.aset("key", number))
    assert len(site_of(cache)._client_of_loop) == 1
    assert cache.get("key") == 4


def test_many_tasks_share_the_connection_of_their_loop(small_node):
    cache = caches["default"]
    cache.set("key", 0)

    async def scenario() -> int:
        await asyncio.gather(*(cache.aincr("key") for _ in range(100)))
        return len(site_of(cache)._client_of_loop)

    assert asyncio.run(scenario()) == 1
    assert cache.get("key") == 100
