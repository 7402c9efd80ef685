"""A site for all kinds of servers, and for Celery: it uses the cache while it is loaded, and in each request.

A request is GET /NAME/ROUNDS: it writes values of its own under NAME and reads them back, so many times, and answers
with what `work` returns. A process that used the connection or the replica of another one would read something else.
"""

from __future__ import annotations

import os
from typing import Any

import django

django.setup()

from django.core.cache import cache  # noqa: E402

cache.set("loaded", 1, None)
assert cache.get("loaded") == 1


def work(name: str, rounds: int) -> str:
    """The process, how many answers were wrong, and how many reads found nothing."""
    wrong = missed = 0
    for number in range(rounds):
        value = f"{name} {number}"
        cache.set(name, value)
        found = cache.get(name)
        missed += found is None
        wrong += found not in (None, value)
        cache.set(f"{name}:count", number)
        wrong += cache.incr(f"{name}:count") != number + 1
    return f"{os.getpid()} {wrong} {missed}"


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    _, name, rounds = environ["PATH_INFO"].split("/")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [work(name, int(rounds)).encode()]


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The same in an event loop, where the calls are coroutines."""
    if scope["type"] != "http":
        return
    _, name, rounds = scope["path"].split("/")
    wrong = missed = 0
    for number in range(int(rounds)):
        value = f"{name} {number}"
        await cache.aset(name, value)
        found = await cache.aget(name)
        missed += found is None
        wrong += found not in (None, value)
        await cache.aset(f"{name}:count", number)
        wrong += await cache.aincr(f"{name}:count") != number + 1
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": f"{os.getpid()} {wrong} {missed}".encode()})
