"""Times single calls of the cache, back to back or with pauses between them.

A process that idled pays for waking up, so each block begins with calls that are not timed. What a call
returned is judged after its time was taken: a miss is fast, and no hit.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from operator import methodcaller
from typing import TYPE_CHECKING, Any

from django.core.cache import cache

from benchmarks.scale import VALUE_BYTES
from benchmarks.work.population import fresh_keys, key, value

if TYPE_CHECKING:
    from collections.abc import Callable

now = time.perf_counter_ns
DRAIN_S = 60
PATIENCE_S = 10


class WrongAnswer(Exception):
    """A backend did not do what was timed."""


@dataclass(frozen=True)
class Block:
    """Calls to be made on Django's `cache`, looked up as a site does: the attribute of the proxy each time."""

    calls: list[Callable[[Any], Any]]
    is_right: Callable[[Any], bool]
    clean_up: Callable[[], object] = lambda: None


def insist(make: Callable[[Any], Any], is_right: Callable[[Any], bool]) -> None:
    """Make a call until its answer is right. Raises WrongAnswer.

    Where a node got no CPU time for a lease, its host reads misses for a moment. All that time counts.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not is_right(answer := make(cache)):
        if time.monotonic() > deadline:
            raise WrongAnswer(f"{make!r:.60} returned {answer!r:.60}")


def is_hit(found: Any) -> bool:
    return found is not None and len(found) == VALUE_BYTES


def is_done(answer: Any) -> bool:
    return answer is not False  # django-redis has True where Django has None


def get(count: int, entries: int) -> Block:
    return Block([methodcaller("get", key(random.randrange(entries))) for _ in range(count)], is_hit)


def aget(count: int, entries: int) -> Block:
    return Block([methodcaller("aget", key(random.randrange(entries))) for _ in range(count)], is_hit)


def get_many(count: int, entries: int) -> Block:
    wanted = [[key(number) for number in random.sample(range(entries), 100)] for _ in range(count)]
    return Block([methodcaller("get_many", keys) for keys in wanted], lambda found: len(found) == 100)


def set_(count: int, entries: int, **options: Any) -> Block:
    """`options` are further arguments. Nothing of what nobody waited for is left when the block is over."""
    numbers = [random.randrange(entries) for _ in range(count)]
    return Block(
        [methodcaller("set", key(number), value(number), **options) for number in numbers],
        is_done,
        wait_for_all,
    )


def wait_for_all() -> None:
    """Wait until all is done that nobody has waited for: what is acknowledged comes after it."""
    deadline = time.monotonic() + DRAIN_S
    while True:
        try:
            cache.set(key(0), value(0))
        except Exception:
            # A write has less time than all that many processes have handed over may take.
            if time.monotonic() > deadline:
                raise
        else:
            cache.close()
            return


def add(count: int, entries: int) -> Block:  # noqa: ARG001
    data = _fresh_entries(count)
    return Block(
        [methodcaller("add", *entry) for entry in data.items()],
        lambda added: added is True,
        lambda: cache.delete_many(data),
    )


def incr(count: int, entries: int) -> Block:  # noqa: ARG001
    keys = fresh_keys(10)
    cache.set_many(dict.fromkeys(keys, 1))
    return Block(
        [methodcaller("incr", random.choice(keys)) for _ in range(count)],
        lambda total: total > 1,
        lambda: cache.delete_many(keys),
    )


def delete(count: int, entries: int) -> Block:  # noqa: ARG001
    data = _fresh_entries(count)
    cache.set_many(data)
    # Where a block is cut short, the rest goes too.
    return Block(
        [methodcaller("delete", one) for one in data],
        lambda was_there: was_there is True,
        lambda: cache.delete_many(data),
    )


def set_many(count: int, entries: int) -> Block:  # noqa: ARG001
    data = _fresh_entries(1000)
    # Some backends return None for Django's empty list of keys that failed.
    return Block(
        [methodcaller("set_many", data)] * count, lambda failed: not failed, lambda: cache.delete_many(data)
    )


def _fresh_entries(count: int) -> dict[str, bytes]:
    return {one: value(number) for number, one in enumerate(fresh_keys(count))}


BLOCKS: dict[str, Callable[..., Block]] = {
    "get": get,
    "aget": aget,
    "get_many": get_many,
    "set": set_,
    "add": add,
    "incr": incr,
    "delete": delete,
    "set_many": set_many,
}


def time_calls(
    call: str, count: int, warm_up: int, seconds: float, entries: int, pause: float = 0, **options: Any
) -> list[int]:
    """Nanoseconds of each of `count` calls, or of those that fit into `seconds`."""
    return timed(BLOCKS[call](warm_up + count, entries, **options), warm_up, seconds, pause)


def timed(block: Block, warm_up: int, seconds: float, pause: float = 0) -> list[int]:
    """The same for a block; before each call that is timed the process sleeps, `pause` seconds on average."""
    taken: list[int] = []
    for make in block.calls[:warm_up]:
        make(cache)
    end = now() + int(seconds * 1e9)
    for make in block.calls[warm_up:]:
        if pause:
            time.sleep(random.uniform(0.5, 1.5) * pause)
        began = now()
        answer = make(cache)
        ended = now()
        if not block.is_right(answer):
            insist(make, block.is_right)
            ended = now()
        taken.append(ended - began)
        if ended > end:
            break
    block.clean_up()
    return taken


def time_awaited_calls(call: str, count: int, warm_up: int, seconds: float, entries: int) -> list[int]:
    """The same for a coroutine method, in one event loop."""
    block = BLOCKS[call](warm_up + count, entries)
    taken: list[int] = []

    async def run() -> None:
        for make in block.calls[:warm_up]:
            await make(cache)
        end = now() + int(seconds * 1e9)
        for make in block.calls[warm_up:]:
            began = now()
            answer = await make(cache)
            ended = now()
            taken.append(ended - began)
            if not block.is_right(answer):
                raise WrongAnswer(f"{make!r:.60} returned {answer!r:.60}")
            if ended > end:
                break

    asyncio.run(run())
    block.clean_up()
    return taken
