"""A replica to write to, and one-line changes to it."""

from __future__ import annotations

from hashlib import sha256
from types import SimpleNamespace

import lmdb

from django_hacache.changes.vocabulary import Insert
from django_hacache.conf import AckLevel
from django_hacache.replica.clock import NEVER
from django_hacache.replica.pair import FILE_NAME
from django_hacache.replica.replica import Replica
from django_hacache.values.signing import PLAIN
from django_hacache.worker.standalone_writer import StandaloneWriter

MAP_SIZE = 64 * 1024 * 1024


def open_replica(directory, **options):
    return Replica.open(directory, **{"writable": True, "map_size": MAP_SIZE} | options)


def as_lmdb_has_it(directory, *, readonly=True):
    """The file without what the package adds: for a process, or a moment, that has it open in no other way."""
    return lmdb.open(
        str(directory / FILE_NAME), subdir=False, readonly=readonly, max_dbs=8, map_size=MAP_SIZE
    )


def put(replica, key, value=b"value", *, cache="default", expires_at=NEVER, keep_ttl=False, version=None):
    with replica.write() as transaction:
        version = version or transaction.next_version()
        transaction.set(cache, key, value, version=version, expires_at=expires_at, keep_ttl=keep_ttl)


def digest(replica):
    with replica.snapshot() as picture:
        return digest_of(picture)


def digest_of(picture):
    """SHA-256 over (cache, key, value, version) of everything present: equal for equal replicas."""
    total = sha256()
    for cache in picture.caches():
        for entry in picture.items(cache):
            for part in (cache.encode(), entry.key, entry.value, entry.version.to_bytes(8, "big")):
                total.update(len(part).to_bytes(8, "big"))
                total.update(part)
    return total.digest()


def store(replica, key, value, limits, cache="default"):
    """Write as a worker does on a machine of its own: within the limits of the cache."""
    writer = StandaloneWriter(cache, limits, SimpleNamespace(reader=replica), PLAIN)
    assert writer.perform(Insert(key, value, None), ack=AckLevel.QUORUM, deadline=0).effective
