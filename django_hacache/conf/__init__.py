"""Settings and environment, read once, typed and validated.

Knows Django's settings and nothing of what the other rooms do with them. Nothing here imports grpc, opens a
replica or touches the network; only `node_config` and `problems` look at files (the TLS ones).
"""

from __future__ import annotations

from django_hacache.conf.cluster import TLS, ClusterConfig, Host, cluster_config, node_config
from django_hacache.conf.location import default_location
from django_hacache.conf.options import (
    AckLevel,
    CacheOptions,
    cache_options,
    ensure_fit_for_cluster,
    node_caches,
)
from django_hacache.conf.problems import Problem
from django_hacache.conf.review import problems

__all__ = [
    "TLS",
    "AckLevel",
    "CacheOptions",
    "ClusterConfig",
    "Host",
    "Problem",
    "cache_options",
    "cluster_config",
    "default_location",
    "ensure_fit_for_cluster",
    "node_caches",
    "node_config",
    "problems",
]
