"""Settings and environment, read once, typed and validated.

Import the values from here: they know no Django. cluster.py reads the settings of the cluster, options.py those of a
cache, and rules.py finds everything that is wrong. Nothing in this room imports grpc, opens a replica or touches the
network; a file is read only where a function says so.
"""

from __future__ import annotations

from django_hacache.conf.config import TLS, AckLevel, CacheOptions, ClusterConfig
from django_hacache.conf.hosts import Host

__all__ = ["TLS", "AckLevel", "CacheOptions", "ClusterConfig", "Host"]
