"""One-line changes for the tests of this room."""

from __future__ import annotations

from django_hacache.replica.clock import NEVER


def put(replica, key, value=b"value", *, cache="default", expires_at=NEVER, keep_ttl=False, version=None):
    with replica.write() as transaction:
        version = version or transaction.next_version()
        transaction.set(cache, key, value, version=version, expires_at=expires_at, keep_ttl=keep_ttl)


def digest(replica):
    with replica.snapshot() as picture:
        return picture.digest()
