"""The writes of one block of code on their way to the node, over one connection: see block.py.

The block learns here what became of each of its writes. Must not know caches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_hacache.changes.codec import outcome_of
from django_hacache.link.asynchronous import acarried_out
from django_hacache.link.blocking import carried_out
from django_hacache.link.pipeline import Pipeline

if TYPE_CHECKING:
    from django_hacache.link.exchange import Exchange
    from django_hacache.link.pipeline import Waits
    from django_hacache.wire import cache_pb2 as pb
    from django_hacache.worker.sites import ClusterSite


class Handed:
    """A write that was handed over. It has its answer, or the cause why none will come in this pipeline, or neither."""

    __slots__ = ("ack", "cause", "exchange")

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.ack: pb.Ack | None = None
        self.cause: Exception | None = None

    @property
    def is_on_its_way(self) -> bool:
        return self.ack is None and self.cause is None


class BlockPipeline(Pipeline[Handed]):
    """The writes of one block to one node."""

    def __init__(self, site: ClusterSite) -> None:
        client = site.client()
        super().__init__(client.take, client.give_back)
        self._site = site
        self._life = site.life

    @property
    def is_inherited(self) -> bool:
        """Whether the pipeline belongs to the process that this one was forked from."""
        return self._site.life is not self._life

    def answered(self, item: Handed, ack: pb.Ack) -> None:
        item.ack = ack

    def given_up(self, items: list[Handed], cause: Exception) -> None:
        for item in items:
            item.cause = cause

    def post(self, exchange: Exchange) -> Waits[Handed]:
        """Send a write, after the direct writes before it. Raises Lost where the node has not seen it whole."""
        direct = self._site.direct
        if direct is not None and direct.unanswered:
            yield from direct.settle(exchange.deadline)
        handed = Handed(exchange)
        yield from self.hand_over(exchange.req_id, exchange.payload, handed, exchange.deadline)
        exchange.sent()
        return handed

    def wait(self) -> None:
        """Wait until every write has its answer, or will have none here."""
        if not carried_out(self.settle(self._deadline())):
            self.lose(TimeoutError("timed out"))

    async def await_(self) -> None:
        """As wait, without blocking the event loop."""
        if not await acarried_out(self.settle(self._deadline())):
            self.lose(TimeoutError("timed out"))

    def conclude(self, handed: Handed) -> None:
        """Raise what the write would have raised by itself; send it again where its connection was lost."""
        site, exchange = self._site, handed.exchange
        with site.breaker.noting():
            if handed.ack is None:
                outcome_of(site.client().go_on(exchange, _cause_of(handed)))
            else:
                outcome_of(exchange.ensure_conclusive(handed.ack))

    async def aconclude(self, handed: Handed) -> None:
        """As conclude, without blocking the event loop."""
        site, exchange = self._site, handed.exchange
        with site.breaker.noting():
            if handed.ack is None:
                outcome_of(await site.async_client().go_on(exchange, _cause_of(handed)))
            else:
                outcome_of(exchange.ensure_conclusive(handed.ack))

    def _deadline(self) -> float:
        items = list(self.unanswered.values())
        return max((handed.exchange.deadline for _, handed in items), default=0.0)


def _cause_of(handed: Handed) -> Exception:
    return handed.cause or TimeoutError("timed out")
