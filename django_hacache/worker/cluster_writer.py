"""Changes sent to the node of this host, which brings them to the leader. Knows no replica and no key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_hacache.changes.codec import outcome_of, request_of
from django_hacache.changes.outcome import DONE
from django_hacache.changes.vocabulary import Insert, Move, When
from django_hacache.exceptions import CacheUnavailable, OutcomeUnknown

if TYPE_CHECKING:
    from collections.abc import Generator

    from django_hacache.changes.outcome import Outcome
    from django_hacache.changes.vocabulary import Change, Sent
    from django_hacache.conf import AckLevel
    from django_hacache.wire import cache_pb2 as pb
    from django_hacache.worker.process import ClusterSite

    # Yields requests, is sent their answers or thrown what was raised in place of one, and returns the outcome.
    Requests = Generator[pb.CacheRequest, pb.Ack, Outcome]


class ClusterWriter:
    """Sends each change over the connection of the calling thread, or of the running event loop."""

    def __init__(self, cache: str, site: ClusterSite) -> None:
        """Take the cache's name on the wire, and what this process shares of its location."""
        self._cache = cache
        self._site = site

    def perform(self, change: Change, *, ack: AckLevel, deadline: float) -> Outcome:
        """Send `change` and wait for the answer at level `ack`, until `deadline`.

        Raises CacheUnavailable at once while the circuit breaker is open; otherwise what NodeClient.request
        and outcome_of raise.
        """
        requests, site = self._requests(change, ack, deadline), self._site
        try:
            request = next(requests)
            while True:
                try:
                    answer = site.client().request(request, deadline=deadline, since=site.since())
                except BaseException as error:  # noqa: BLE001 - it is raised again there
                    request = requests.throw(error)
                else:
                    request = requests.send(answer)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome

    async def aperform(self, change: Change, *, ack: AckLevel, deadline: float) -> Outcome:
        """As perform, without blocking the event loop."""
        requests, site = self._requests(change, ack, deadline), self._site
        try:
            request = next(requests)
            while True:
                try:
                    client, since = site.async_client(), site.since()
                    answer = await client.request(request, deadline=deadline, since=since)
                except BaseException as error:  # noqa: BLE001 - as above
                    request = requests.throw(error)
                else:
                    request = requests.send(answer)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome

    def _requests(self, change: Change, ack: AckLevel, deadline: float) -> Requests:
        """What is sent for one change: a move takes two requests, and the second only where the first was granted."""
        if not isinstance(change, Move):
            return (yield from self._request(change, ack, deadline))
        # The wire has no conditional removal: what is overwritten with an entry that is over at once is gone as well.
        taking = Insert(change.source, b"", 0, When.UNCHANGED, change.version)
        taken = yield from self._request(taking, ack, deadline)
        if not taken.effective:
            return taken
        try:
            yield from self._request(change.then, ack, deadline)
        except CacheUnavailable as error:
            # "It did not happen" is true of the second half only.
            raise OutcomeUnknown(
                f"The entry was removed in order to be moved, and may not be stored again: {error}"
            ) from error
        return DONE

    def _request(self, change: Sent, ack: AckLevel, deadline: float) -> Requests:
        with self._site.breaker:
            return outcome_of((yield request_of(change, self._cache, ack=ack, deadline=deadline)))
