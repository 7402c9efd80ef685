"""Bytes as they are stored, whatever they mean: as whoever has the socket or the file can read and store them."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.cache import caches

from django_hacache.changes.vocabulary import Insert
from django_hacache.conf import AckLevel
from django_hacache.system.platform import monotonic
from django_hacache.worker.setup import Setup, set_up


def setup_of(alias: str) -> Setup:
    """What the cache objects of this alias share in this process."""
    entry = dict(settings.CACHES[alias])
    location = entry.pop("LOCATION")
    del entry["BACKEND"]
    return set_up(alias, location, entry)


def change(alias: str, one: Any) -> Any:
    return setup_of(alias).writer.perform(one, ack=AckLevel.QUORUM, deadline=monotonic() + 5)


def store(alias: str, key: str, data: bytes) -> None:
    change(alias, Insert(caches[alias].make_key(key), data, None))


def stored(alias: str, key: str) -> bytes:
    setup = setup_of(alias)
    return bytes(setup.site.reader.get(setup.options.name, caches[alias].make_key(key)))
