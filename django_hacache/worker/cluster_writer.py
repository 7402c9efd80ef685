"""Changes sent to the node of this host, which brings them to the leader. Knows no replica and no key."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from django_hacache.changes.codec import outcome_of, request_of
from django_hacache.changes.outcome import DONE
from django_hacache.changes.prepared import Requests
from django_hacache.changes.vocabulary import Insert, Move, When
from django_hacache.conf import AckLevel
from django_hacache.exceptions import CacheUnavailable, OutcomeUnknown
from django_hacache.link.asynchronous import acarried_out
from django_hacache.link.blocking import carried_out
from django_hacache.link.exchange import Exchange
from django_hacache.link.lost import Lost
from django_hacache.link.request import Request
from django_hacache.system.platform import monotonic
from django_hacache.wire import cache_pb2 as pb
from django_hacache.worker.block_pipeline import BlockPipeline

if TYPE_CHECKING:
    from collections.abc import Generator

    from django_hacache.changes.outcome import Outcome
    from django_hacache.changes.vocabulary import Change, Sent
    from django_hacache.worker.block_pipeline import Handed
    from django_hacache.worker.sites import ClusterSite

    # Yields what is sent, is sent what it came to or thrown what was raised in place of that, and returns the outcome.
    Parts = Generator[Sent, Outcome, Outcome]


class ClusterWriter:
    """Sends each change over the connection of the calling thread, or of the running event loop."""

    def __init__(self, cache: str, site: ClusterSite) -> None:
        """Take the cache's name on the wire, and what this process shares of its location."""
        self._cache = cache
        self._site = site
        self._requests = Requests(cache)

    def perform(self, change: Change, *, ack: AckLevel, deadline: float) -> Outcome:
        """Send `change` and wait for the answer at level `ack`, until `deadline`.

        Raises CacheUnavailable at once while the circuit breaker is open; otherwise what NodeClient.request
        and outcome_of raise.
        """
        if not isinstance(change, Move):
            return self._perform(change, ack, deadline)
        parts = _parts_of(change)
        try:
            part = next(parts)
            while True:
                try:
                    outcome = self._perform(part, ack, deadline)
                except CacheUnavailable as error:
                    part = parts.throw(error)
                else:
                    part = parts.send(outcome)
        except StopIteration as end:
            moved: Outcome = end.value
            return moved

    async def aperform(self, change: Change, *, ack: AckLevel, deadline: float) -> Outcome:
        """As perform, without blocking the event loop."""
        if not isinstance(change, Move):
            return await self._aperform(change, ack, deadline)
        parts = _parts_of(change)
        try:
            part = next(parts)
            while True:
                try:
                    outcome = await self._aperform(part, ack, deadline)
                except CacheUnavailable as error:
                    part = parts.throw(error)
                else:
                    part = parts.send(outcome)
        except StopIteration as end:
            moved: Outcome = end.value
            return moved

    @property
    def pipelined(self) -> Self:
        return self

    def new_pipeline(self) -> BlockPipeline:
        return BlockPipeline(self._site)

    def hand_over(
        self, pipeline: BlockPipeline, change: Sent, *, ack: AckLevel, deadline: float
    ) -> Handed | None:
        """As PipelinedWriter says. Raises CacheUnavailable at once while the circuit breaker is open."""
        with self._site.breaker, suppress(Lost):
            return carried_out(pipeline.post(self._exchange(change, ack, deadline)))
        return None

    async def ahand_over(
        self, pipeline: BlockPipeline, change: Sent, *, ack: AckLevel, deadline: float
    ) -> Handed | None:
        """As hand_over, without blocking the event loop."""
        with self._site.breaker, suppress(Lost):
            return await acarried_out(pipeline.post(self._exchange(change, ack, deadline)))
        return None

    def _exchange(self, change: Sent, ack: AckLevel, deadline: float) -> Exchange:
        return Exchange(self._request(change, ack, deadline), deadline=deadline, since=self._site.since())

    def _perform(self, change: Sent, ack: AckLevel, deadline: float) -> Outcome:
        site = self._site
        with site.breaker:
            client, request = site.client(), self._request(change, ack, deadline)
            if ack is AckLevel.DIRECT:
                with suppress(Lost):  # nobody has seen it whole: it is sent like any other
                    carried_out(site.direct_writes().post(request, deadline))
                    return DONE
            if site.direct is not None and site.direct.unanswered:
                carried_out(site.direct.settle(deadline))
            return outcome_of(client.request(request, deadline=deadline, since=site.since()))

    async def _aperform(self, change: Sent, ack: AckLevel, deadline: float) -> Outcome:
        site = self._site
        with site.breaker:
            client, request = site.async_client(), self._request(change, ack, deadline)
            if ack is AckLevel.DIRECT:
                with suppress(Lost):  # as above
                    await acarried_out(site.direct_writes().post(request, deadline))
                    return DONE
            if site.direct is not None and site.direct.unanswered:
                await acarried_out(site.direct.settle(deadline))
            return outcome_of(await client.request(request, deadline=deadline, since=site.since()))

    def _request(self, change: Sent, ack: AckLevel, deadline: float) -> Request:
        req_id = self._site.request_name()
        timeout_ms = max(1, math.ceil((deadline - monotonic()) * 1000))
        payload = self._requests.payload_of(change, req_id=req_id, ack=ack, timeout_ms=timeout_ms)
        if payload is None:
            message = request_of(change, self._cache, req_id=req_id, ack=ack, timeout_ms=timeout_ms)
            payload = message.SerializeToString()
        direct = self._site.direct
        if direct is not None and direct.untold:
            payload += pb.CacheRequest(lost_writes=direct.tell()).SerializeToString()
        return Request(req_id, payload)


def _parts_of(change: Move) -> Parts:
    """A move takes two requests, and the second only where the first was granted."""
    # The wire has no conditional removal: what is overwritten with an entry that is over at once is gone as well.
    taken = yield Insert(change.source, b"", 0, When.UNCHANGED, change.version)
    if not taken.effective:
        return taken
    try:
        yield change.then
    except CacheUnavailable as error:
        # "It did not happen" is true of the second half only.
        raise OutcomeUnknown(
            f"The entry was removed in order to be moved, and may not be stored again: {error}"
        ) from error
    return DONE
