"""Changes sent to the node of this host, which brings them to the leader. Knows no replica and no key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_hacache.changes.vocabulary import DONE, Insert, Move, When
from django_hacache.exceptions import CacheBusy, CacheUnavailable, HACacheError, OutcomeUnknown, UnknownCache
from django_hacache.system.interruption import is_callers
from django_hacache.worker.codec import outcome_of, request_of

if TYPE_CHECKING:
    from django_hacache.changes.vocabulary import Change, Outcome
    from django_hacache.conf import AckLevel
    from django_hacache.worker.process import ClusterSite


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
        if isinstance(change, Move):
            return self._move(change, ack, deadline)
        breaker = self._site.breaker
        breaker.check()
        request = request_of(change, self._cache, ack=ack, deadline=deadline)
        try:
            client, since = self._site.client(), self._site.applied_index()
            return outcome_of(client.request(request, deadline=deadline, since=since))
        except (UnknownCache, CacheBusy):
            raise  # the node works: it knows other caches, or has room for others, or will have it in a moment
        except CacheUnavailable as error:
            if is_callers(error):
                breaker.note_given_up()
            else:
                breaker.open()
            raise
        except HACacheError:
            raise
        except BaseException:
            breaker.note_given_up()
            raise

    def _move(self, change: Move, ack: AckLevel, deadline: float) -> Outcome:
        taken = self.perform(_taking(change), ack=ack, deadline=deadline)
        if not taken.effective:
            return taken
        try:
            self.perform(change.then, ack=ack, deadline=deadline)
        except CacheUnavailable as error:
            raise _halfway(error) from error
        return DONE


class AsyncClusterWriter:
    """Sends each change over the connection of the running event loop."""

    def __init__(self, cache: str, site: ClusterSite) -> None:
        """Take the cache's name on the wire, and what this process shares of its location."""
        self._cache = cache
        self._site = site

    async def perform(self, change: Change, *, ack: AckLevel, deadline: float) -> Outcome:
        """As ClusterWriter.perform, without blocking the event loop."""
        if isinstance(change, Move):
            return await self._move(change, ack, deadline)
        breaker = self._site.breaker
        breaker.check()
        request = request_of(change, self._cache, ack=ack, deadline=deadline)
        try:
            client, since = self._site.async_client(), self._site.applied_index()
            return outcome_of(await client.request(request, deadline=deadline, since=since))
        except (UnknownCache, CacheBusy):
            raise  # the node works: it knows other caches, or has room for others, or will have it in a moment
        except CacheUnavailable as error:
            if is_callers(error):
                breaker.note_given_up()
            else:
                breaker.open()
            raise
        except HACacheError:
            raise
        except BaseException:
            breaker.note_given_up()
            raise

    async def _move(self, change: Move, ack: AckLevel, deadline: float) -> Outcome:
        taken = await self.perform(_taking(change), ack=ack, deadline=deadline)
        if not taken.effective:
            return taken
        try:
            await self.perform(change.then, ack=ack, deadline=deadline)
        except CacheUnavailable as error:
            raise _halfway(error) from error
        return DONE


def _taking(change: Move) -> Insert:
    # The wire has no conditional removal: what is overwritten with an entry that is over at once is gone as well.
    return Insert(change.source, b"", 0, When.UNCHANGED, change.version)


def _halfway(error: CacheUnavailable) -> OutcomeUnknown:
    # "It did not happen" is true of the second half only.
    return OutcomeUnknown(f"The entry was removed in order to be moved, and may not be stored again: {error}")
