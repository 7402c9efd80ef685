"""Backends that a project might have. Imported by the path in CACHES only."""

from __future__ import annotations

from django_hacache.cache import HACache


class ProjectCache(HACache):
    """A subclass of the backend, as a project would write it."""
