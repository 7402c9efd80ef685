"""Redis with what its users would do to be fast or safe: beside Django's own backend and django-redis."""

from __future__ import annotations

import asyncio
import pickle
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import redis.asyncio
from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from redis.cache import CacheConfig
from redis.connection import CacheProxyConnection

WAIT_TIMEOUT_MS = 5000
TRACKED_MAX = 100_000  # more than is read in any measurement


class NotAcknowledged(Exception):
    """Not enough replicas had the write in time."""


class KeptClient(RedisCacheClient):
    """Django makes a new client for each call, which takes longer than the server: here is one for all calls."""

    @cached_property
    def kept(self) -> redis.Redis:
        return super().get_client(write=True)

    def get_client(self, key: Any = None, *, write: bool = False) -> redis.Redis:  # noqa: ARG002
        return self.kept

    def packed(self, value: Any) -> Any:
        return self._serializer.dumps(value)  # type: ignore[attr-defined] # Django's stubs lack it


class TrackingClient(KeptClient):
    """Keeps what it has read in the process; the server tells it what has changed."""

    def __init__(self, servers: Any, **options: Any) -> None:
        # Redis has had it since 6; redis-py lets no server before this one have it.
        CacheProxyConnection.MIN_ALLOWED_VERSION = "6.0.0"
        super().__init__(servers, protocol=3, cache_config=CacheConfig(max_size=TRACKED_MAX), **options)


class AcknowledgedClient(KeptClient):
    """A write and its WAIT leave in one packet; the write is done when so many replicas have it."""

    replicas = 1

    def _acknowledged(self, command: str, *arguments: Any, **options: Any) -> Any:
        with self.kept.pipeline(transaction=False) as pipeline:
            getattr(pipeline, command)(*arguments, **options)
            pipeline.wait(self.replicas, WAIT_TIMEOUT_MS)
            done, replicas = pipeline.execute()
        if replicas < self.replicas:
            raise NotAcknowledged(arguments[0])
        return done

    def set(self, key: Any, value: Any, timeout: Any) -> None:
        self._acknowledged("set", key, self.packed(value), ex=timeout)

    def add(self, key: Any, value: Any, timeout: Any) -> bool:
        return bool(self._acknowledged("set", key, self.packed(value), ex=timeout, nx=True))

    def incr(self, key: Any, delta: Any) -> Any:
        return self._acknowledged("incr", key, delta)


class AcknowledgedByTwoClient(AcknowledgedClient):
    replicas = 2


class UnansweredClient(KeptClient):
    """Tells the server to answer nothing, and does not learn whether a write was made."""

    @cached_property
    def _connection(self) -> Any:
        connection: Any = self.kept.connection_pool.get_connection()
        connection.send_command("CLIENT", "REPLY", "OFF")
        return connection

    def set(self, key: Any, value: Any, timeout: Any) -> None:
        self._connection.send_command("SET", key, self.packed(value), "EX", timeout)

    def close(self, **_: Any) -> None:
        """Wait until the server has read everything."""
        connection = self.__dict__.pop("_connection", None)
        if connection is not None:
            connection.send_command("CLIENT", "REPLY", "ON")
            connection.read_response()
            self.kept.connection_pool.release(connection)


class KeptRedisCache(RedisCache):
    """Django's RedisCache as fast as it can be made."""

    client_class: type[RedisCacheClient] = KeptClient

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = self.client_class


class TrackingRedisCache(KeptRedisCache):
    """Which asks for each key once, as long as nobody changes it."""

    client_class = TrackingClient


class AcknowledgedRedisCache(KeptRedisCache):
    """Whose set, add and incr wait for a replica."""

    client_class = AcknowledgedClient


class AcknowledgedByTwoRedisCache(KeptRedisCache):
    """The same for two replicas."""

    client_class = AcknowledgedByTwoClient


class UnansweredRedisCache(KeptRedisCache):
    """Whose set waits for nobody. Closing it does."""

    client_class = UnansweredClient

    def close(self, **_: Any) -> None:
        client: Any = self._cache
        client.close()


class AsynchronousRedisCache(RedisCache):
    """Whose aget uses the client for coroutines, in place of Django's way through a thread."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._url = server

    async def aget(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        loop = asyncio.get_running_loop()
        if loop not in self._of_loops:
            self._of_loops[loop] = redis.asyncio.Redis.from_url(self._url)
        stored: Any = await self._of_loops[loop].get(self.make_and_validate_key(key, version=version))
        return default if stored is None else pickle.loads(stored)

    @cached_property
    def _of_loops(self) -> WeakKeyDictionary[asyncio.AbstractEventLoop, redis.asyncio.Redis]:
        """A connection belongs to the event loop that has opened it."""
        return WeakKeyDictionary()
