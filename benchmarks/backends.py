"""What is measured: the caches under test and their peers, each by a name that the results use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.cluster import TIMEOUT_S, cache_settings, site_environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.services import Services

REFERENCE = "django-redis"
ACKNOWLEDGED = "redis-wait"
SIGNED = "signed"

Environments = list[dict[str, str]]

# Django's own backends keep 300 entries unless told otherwise.
_UNLIMITED = {"MAX_ENTRIES": 10_000_000}
_DJANGO = "django.core.cache.backends"


@dataclass(frozen=True)
class Backend:
    """A cache that workers use.

    `label` is for people. `environments` starts what the cache needs, and returns the environment of the
    workers of each host that takes part.
    """

    name: str
    label: str
    environments: Callable[[Services], Environments]

    @property
    def short(self) -> str:
        return self.label.partition(",")[0]

    @property
    def is_ours(self) -> bool:
        return self.name in (*OURS, SIGNED, "cluster")


def _peer(entry: Callable[[Services], dict[str, Any]]) -> Callable[[Services], Environments]:
    def environments(services: Services) -> Environments:
        caches = {"TIMEOUT": TIMEOUT_S, **entry(services)}
        return [site_environment(caches) | {"BENCHMARK_DATABASE": str(services.database)}]

    return environments


def _memcached(kind: str) -> Callable[[Services], Environments]:
    return _peer(
        lambda services: {
            "BACKEND": f"{_DJANGO}.memcached.{kind}",
            "LOCATION": services.memcached.address,
            "KEY_PREFIX": kind,
        }
    )


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend(
            "standalone",
            "django_hacache, standalone",
            _peer(lambda services: cache_settings(services.directory / "standalone", services.size_limit)),
        ),
        Backend(
            SIGNED,
            "django_hacache, standalone, values signed",
            _peer(
                lambda services: cache_settings(
                    services.directory / "signed",
                    services.size_limit,
                    SIGNING_KEYS=["only for benchmarks, of 32 bytes"],
                )
            ),
        ),
        Backend(
            "one-node", "django_hacache, one node", lambda services: [services.one_node.hosts[0].environment]
        ),
        Backend(
            "leader",
            "django_hacache, three nodes, leader's host",
            lambda services: [services.leader.environment],
        ),
        Backend(
            "other",
            "django_hacache, three nodes, another host",
            lambda services: [services.other.environment],
        ),
        Backend(
            "cluster",
            "django_hacache, three nodes, all hosts",
            lambda services: [host.environment for host in services.three_nodes.hosts],
        ),
        Backend(
            REFERENCE,
            "django-redis",
            _peer(
                lambda services: {
                    "BACKEND": "django_redis.cache.RedisCache",
                    "LOCATION": f"redis://{services.redis.address}/0",
                }
            ),
        ),
        Backend(
            "redis",
            "Django's RedisCache with hiredis",
            _peer(
                lambda services: {
                    "BACKEND": f"{_DJANGO}.redis.RedisCache",
                    "LOCATION": f"redis://{services.redis.address}/1",
                }
            ),
        ),
        Backend(
            ACKNOWLEDGED,
            "Redis + WAIT 1, two replicas",
            _peer(
                lambda services: {
                    "BACKEND": "benchmarks.peers.AcknowledgedRedisCache",
                    "LOCATION": f"redis://{services.redis_primary.address}",
                }
            ),
        ),
        Backend("pymemcache", "PyMemcacheCache", _memcached("PyMemcacheCache")),
        Backend("pylibmc", "PyLibMCCache", _memcached("PyLibMCCache")),
        Backend(
            "locmem",
            "LocMemCache, private to each process",
            _peer(lambda _: {"BACKEND": f"{_DJANGO}.locmem.LocMemCache", "OPTIONS": _UNLIMITED}),
        ),
        Backend(
            "diskcache",
            "diskcache on tmpfs",
            _peer(
                lambda services: {
                    "BACKEND": "diskcache.DjangoCache",
                    "LOCATION": str(services.directory / "diskcache"),
                }
            ),
        ),
        Backend(
            "database",
            "DatabaseCache, SQLite on tmpfs",
            _peer(
                lambda _: {
                    "BACKEND": f"{_DJANGO}.db.DatabaseCache",
                    "LOCATION": "cache",
                    "OPTIONS": _UNLIMITED,
                }
            ),
        ),
        Backend(
            "filebased",
            "FileBasedCache on tmpfs",
            _peer(
                lambda services: {
                    "BACKEND": f"{_DJANGO}.filebased.FileBasedCache",
                    "LOCATION": str(services.directory / "filebased"),
                    "OPTIONS": _UNLIMITED,
                }
            ),
        ),
    )
}
OURS = ("standalone", "one-node", "leader", "other")
PEERS = (REFERENCE, "redis", "pymemcache", "pylibmc", "locmem", "diskcache", "database", "filebased")
