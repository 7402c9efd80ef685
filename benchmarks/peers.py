"""Redis with acknowledged writes: what a cluster's write at quorum is compared with."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.core.cache.backends.redis import RedisCache, RedisCacheClient

if TYPE_CHECKING:
    import redis

WAIT_TIMEOUT_MS = 5000


class NotAcknowledged(Exception):
    """No replica had the write in time."""


class AcknowledgedClient(RedisCacheClient):
    """SET and WAIT 1 leave in one packet; the write is done when one of the two replicas has it."""

    @cached_property
    def _primary(self) -> redis.Redis:
        # Django makes a new one for each call, which takes longer than the server.
        return self.get_client(write=True)

    def set(self, key: Any, value: Any, timeout: Any) -> None:
        with self._primary.pipeline(transaction=False) as pipeline:
            stored = self._serializer.dumps(value)  # type: ignore[attr-defined] # Django's stubs lack it
            pipeline.set(key, stored, ex=timeout)
            pipeline.wait(1, WAIT_TIMEOUT_MS)
            replicas = pipeline.execute()[-1]
        if replicas < 1:
            raise NotAcknowledged(key)


class AcknowledgedRedisCache(RedisCache):
    """Django's RedisCache whose set() waits for a replica."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = AcknowledgedClient
