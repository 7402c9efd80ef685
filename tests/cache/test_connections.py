"""Connections to the node: one a thread, one an event loop, none left behind."""

from __future__ import annotations

import asyncio
import threading

from django.core.cache import caches


def test_a_thread_keeps_its_connection(small_node):
    site = caches["default"]._site
    client = site.client()
    caches["default"].set("key", 1)
    caches["second"].set("key", 1)
    assert site.client() is client
    others = []
    thread = threading.Thread(target=lambda: others.append(site.client()))
    thread.start()
    thread.join()
    assert others[0] is not client


def test_the_connections_of_ended_event_loops_are_given_up(small_node):
    cache = caches["default"]
    for number in range(5):
        asyncio.run(cache.aset("key", number))
    assert len(cache._site._of_loop) == 1
    assert cache.get("key") == 4


def test_many_tasks_share_the_connection_of_their_loop(small_node):
    cache = caches["default"]
    cache.set("key", 0)

    async def scenario() -> int:
        await asyncio.gather(*(cache.aincr("key") for _ in range(100)))
        return len(cache._site._of_loop)

    assert asyncio.run(scenario()) == 1
    assert cache.get("key") == 100
