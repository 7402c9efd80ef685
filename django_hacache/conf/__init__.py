"""Settings and environment, read once, typed and validated.

This module has what is decided by them, as values that know no Django. Who reads settings asks the module that does:
cluster.py, options.py and location.py, or review.py for everything that is wrong. Nothing in this room imports grpc,
opens a replica or touches the network; files are looked at only where a function says so.
"""

from __future__ import annotations

from django_hacache.conf.config import TLS, AckLevel, CacheOptions, ClusterConfig
from django_hacache.conf.hosts import Host

__all__ = ["TLS", "AckLevel", "CacheOptions", "ClusterConfig", "Host"]
