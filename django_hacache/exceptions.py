"""The exceptions that users may catch. Must not know who raises them.

HACacheError
├── CacheUnavailable      (also a ConnectionError)
│   ├── CacheBusy
│   ├── OutcomeUnknown
│   └── UnknownCache
├── ConfigurationError    (also Django's ImproperlyConfigured)
├── LinkError
├── ReplicaError          (also an OSError)
│   ├── ReplicaBroken
│   └── ReplicaFull
├── RequestRefused
└── ValueTooLarge         (also a ValueError)
"""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured


class HACacheError(Exception):
    """Every error of this package."""


class CacheUnavailable(HACacheError, ConnectionError):
    """The cluster cannot answer now: no node, no leader or no majority. The change did not happen."""


class CacheBusy(CacheUnavailable):
    """More is written than the cluster has room for just now. The change did not happen; it may be tried again."""


class OutcomeUnknown(CacheUnavailable):
    """The change was sent and the answer never came: it may have happened, or may still happen."""


class UnknownCache(CacheUnavailable):
    """The node has no cache of this name: it runs with older settings, as while a release goes from host to host."""


class ConfigurationError(HACacheError, ImproperlyConfigured):
    """A setting, an environment variable or an option has a value that cannot work."""


class LinkError(HACacheError):
    """Bytes on the node's socket are not of the protocol."""


class ReplicaError(HACacheError, OSError):
    """The host's replica cannot be opened, read or written."""


class ReplicaBroken(ReplicaError):
    """The replica's file is not whole: somebody else has written to it, or a part of it is missing."""


class ReplicaFull(ReplicaError):
    """The file system of the replica, or its map, has no room left. What was stored before stays."""


class RequestRefused(HACacheError):
    """The node understood the request and will never grant it as it is."""


class ValueTooLarge(HACacheError, ValueError):
    """A value is larger than the cache may ever store."""
