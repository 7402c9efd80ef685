"""What is measured: the caches under test and their peers, each by a name that the results use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.cluster import TIMEOUT_S, cache_settings, site_environment
from benchmarks.places import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.services import Services

REFERENCE = "django-redis"
REPLICATED = "replicated"
ACKNOWLEDGED = "redis-wait"
ACKNOWLEDGED_BY_ALL = "redis-wait-2"
TRACKING = "redis-tracking"
ASYNCHRONOUS = "redis-asyncio"
UNANSWERED = "redis-unanswered"
BEST_REDIS = "redis-unix"
SIGNED = "signed"
TOGETHER = "together"
# What a backend with replicas is called elsewhere than on the primary's host.
FAR, ALL = "-far", "-all"

Sites = list[Site]
Entry = dict[str, Any]

# Django's own backends keep 300 entries unless told otherwise.
_UNLIMITED = {"MAX_ENTRIES": 10_000_000}
_DJANGO = "django.core.cache.backends"
_DJANGO_REDIS = "django_redis.cache.RedisCache"


@dataclass(frozen=True)
class Backend:
    """A cache that workers use.

    `label` is for people. `sites` starts what the cache needs, and returns the site of each host that takes part.
    """

    name: str
    label: str
    sites: Callable[[Services], Sites]

    @property
    def short(self) -> str:
        return self.label.partition(",")[0]

    @property
    def is_ours(self) -> bool:
        return self.name in (*OURS, SIGNED, TOGETHER, "cluster")


def _peer(entry: Callable[[Services], Entry]) -> Callable[[Services], Sites]:
    def sites(services: Services) -> Sites:
        caches = {"TIMEOUT": TIMEOUT_S, **entry(services)}
        database = {"BENCHMARK_DATABASE": str(services.database)}
        return [Site(site_environment(caches) | database, services.places[0])]

    return sites


def _memcached(kind: str) -> Callable[[Services], Sites]:
    return _peer(
        lambda services: {
            "BACKEND": f"{_DJANGO}.memcached.{kind}",
            "LOCATION": services.memcached.address,
            "KEY_PREFIX": kind,
        }
    )


def _of_primary(backend: str) -> Callable[[Services, int], Entry]:
    """Every site reads and writes at the primary, wherever it is."""
    return lambda services, _: {"BACKEND": backend, "LOCATION": services.replicated_redis[0].url}


def _of_own_replica(services: Services, host: int) -> Entry:
    """django-redis reads from the others where several servers are given, and writes to the first."""
    servers = [services.replicated_redis[0].url, services.replicated_redis[host].url]
    return {"BACKEND": _DJANGO_REDIS, "LOCATION": servers}


def _with_replicas(name: str, label: str, entry: Callable[[Services, int], Entry]) -> list[Backend]:
    """The sites of a primary with two replicas: on its own host, on another one, and on all."""

    def at(hosts: Sequence[int]) -> Callable[[Services], Sites]:
        return lambda services: [
            Site(site_environment({"TIMEOUT": TIMEOUT_S, **entry(services, host)}), services.places[host])
            for host in hosts
        ]

    return [
        Backend(name, f"{label}, primary's host", at([0])),
        Backend(name + FAR, f"{label}, another host", at([1])),
        Backend(name + ALL, f"{label}, all hosts", at([0, 1, 2])),
    ]


def _waiting_once(services: Services) -> Sites:
    site = services.other.site
    middleware = {"BENCHMARK_MIDDLEWARE": "django_hacache.together.TogetherMiddleware"}
    return [Site({**site.environment, **middleware}, site.place)]


_OF_OURS = (
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
    Backend("one-node", "django_hacache, one node", lambda services: [services.one_node.hosts[0].site]),
    Backend("leader", "django_hacache, three nodes, leader's host", lambda services: [services.leader.site]),
    Backend("other", "django_hacache, three nodes, another host", lambda services: [services.other.site]),
    Backend(TOGETHER, "django_hacache, three nodes, another host, together", _waiting_once),
    Backend(
        "cluster",
        "django_hacache, three nodes, all hosts",
        lambda services: [host.site for host in services.three_nodes.hosts],
    ),
)

_OF_REDIS = (
    Backend(
        REFERENCE,
        "django-redis",
        _peer(lambda services: {"BACKEND": _DJANGO_REDIS, "LOCATION": f"{services.redis.url}/0"}),
    ),
    Backend(
        "redis",
        "Django's RedisCache with hiredis",
        _peer(
            lambda services: {"BACKEND": f"{_DJANGO}.redis.RedisCache", "LOCATION": f"{services.redis.url}/1"}
        ),
    ),
    Backend(
        BEST_REDIS,
        "RedisCache with hiredis, one client kept, Unix socket",
        _peer(
            lambda services: {
                "BACKEND": "benchmarks.peers.KeptRedisCache",
                "LOCATION": f"unix://{services.redis.socket}?db=2",
            }
        ),
    ),
    Backend(
        ASYNCHRONOUS,
        "redis.asyncio",
        _peer(
            lambda services: {
                "BACKEND": "benchmarks.peers.AsynchronousRedisCache",
                "LOCATION": f"{services.redis.url}/3",
            }
        ),
    ),
    Backend(
        UNANSWERED,
        "Redis told to answer nothing",
        _peer(
            lambda services: {
                "BACKEND": "benchmarks.peers.UnansweredRedisCache",
                "LOCATION": services.replicated_redis[0].url,
            }
        ),
    ),
    *_with_replicas(REPLICATED, "django-redis, two replicas", _of_primary(_DJANGO_REDIS)),
    *_with_replicas(
        TRACKING,
        "Redis with client-side caching",
        _of_primary("benchmarks.peers.TrackingRedisCache"),
    ),
    *_with_replicas("near", "django-redis, own host's replica", _of_own_replica),
    *_with_replicas(
        ACKNOWLEDGED,
        "Redis + WAIT 1, two replicas",
        _of_primary("benchmarks.peers.AcknowledgedRedisCache"),
    ),
    *_with_replicas(
        ACKNOWLEDGED_BY_ALL,
        "Redis + WAIT 2, two replicas",
        _of_primary("benchmarks.peers.AcknowledgedByTwoRedisCache"),
    ),
)

_OF_OTHERS = (
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

BACKENDS = {backend.name: backend for backend in (*_OF_OURS, *_OF_REDIS, *_OF_OTHERS)}
OURS = ("standalone", "one-node", "leader", "other")
PEERS = (
    *(REFERENCE, "redis", BEST_REDIS, TRACKING, "pymemcache", "pylibmc"),
    *("locmem", "diskcache", "database", "filebased"),
)
