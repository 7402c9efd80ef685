"""Changes sent to the node of this host, which brings them to the leader. Knows no replica and no key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_hacache.exceptions import CacheUnavailable
from django_hacache.requests import outcome_of, request_of

if TYPE_CHECKING:
    from django_hacache.changes import Change, Outcome
    from django_hacache.conf import AckLevel
    from django_hacache.process import ClusterSite


class ClusterWriter:
    """Sends each change over the connection of the calling thread."""

    def __init__(self, cache: str, site: ClusterSite) -> None:
        """Take the cache's name on the wire, and what this process shares of its location."""
        self._cache = cache
        self._site = site

    def perform(self, change: Change, *, ack: AckLevel, deadline: float) -> Outcome:
        """Send `change` and wait for the answer at level `ack`, until `deadline`.

        Raises CacheUnavailable at once while the circuit breaker is open; otherwise what NodeClient.request
        and outcome_of raise.
        """
        breaker = self._site.breaker
        breaker.check()
        request = request_of(change, self._cache, ack=ack, deadline=deadline)
        try:
            client, since = self._site.client(), self._site.applied_index()
            return outcome_of(client.request(request, deadline=deadline, since=since))
        except CacheUnavailable:
            breaker.open()
            raise


class AsyncClusterWriter:
    """Sends each change over the connection of the running event loop."""

    def __init__(self, cache: str, site: ClusterSite) -> None:
        """Take the cache's name on the wire, and what this process shares of its location."""
        self._cache = cache
        self._site = site

    async def perform(self, change: Change, *, ack: AckLevel, deadline: float) -> Outcome:
        """As ClusterWriter.perform, without blocking the event loop."""
        breaker = self._site.breaker
        breaker.check()
        request = request_of(change, self._cache, ack=ack, deadline=deadline)
        try:
            client, since = self._site.async_client(), self._site.applied_index()
            return outcome_of(await client.request(request, deadline=deadline, since=since))
        except CacheUnavailable:
            breaker.open()
            raise
