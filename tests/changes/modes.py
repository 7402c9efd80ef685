"""Both ways of carrying changes out, over replicas of their own and without a socket between."""

from __future__ import annotations

from types import SimpleNamespace

from django_hacache.conf import AckLevel
from django_hacache.consensus.messages import Entry
from django_hacache.node.encoding.acks import ack_of
from django_hacache.node.evaluation.evaluator import Evaluator
from django_hacache.node.storage.effects import apply
from django_hacache.replica.clock import boottime_ns, now_ms
from django_hacache.replica.eviction import Limits
from django_hacache.values.signing import PLAIN
from django_hacache.wire import cache_pb2 as pb
from django_hacache.worker.breaker import CircuitBreaker
from django_hacache.worker.cluster_writer import ClusterWriter
from django_hacache.worker.standalone_writer import StandaloneWriter

CACHE = "default"
UNLIMITED = Limits(size_limit=1 << 40, max_entries=None, cull_frequency=3)


class Standalone:
    """A worker that writes to the replica itself."""

    def __init__(self, replica, codec=PLAIN):
        self.replica = replica
        self._writer = StandaloneWriter(CACHE, UNLIMITED, SimpleNamespace(reader=replica), codec)

    def perform(self, change):
        return self._writer.perform(change, ack=AckLevel.QUORUM, deadline=0)

    def settle(self):
        """Everything is in the replica at once."""


class Clustered:
    """A worker of a cluster, and a leader whose replica lags behind the order until settle()."""

    def __init__(self, replica, codec=PLAIN):
        self.replica = replica
        self._evaluator = Evaluator(replica, codecs={CACHE: codec})
        self._waiting = []
        self._index = 0
        breaker = CircuitBreaker(lambda: 0, lambda: True)
        site = SimpleNamespace(
            breaker=breaker,
            client=lambda: self,
            since=lambda: (1, 0),
            request_name=lambda: "name",
            direct=None,
        )
        self._writer = ClusterWriter(CACHE, site)

    def perform(self, change):
        return self._writer.perform(change, ack=AckLevel.QUORUM, deadline=boottime_ns() / 1e9 + 60)

    def request(self, request, **_):
        """Answer as a leader does, for the writer, which takes this for its connection."""
        request = pb.CacheRequest.FromString(request.payload)
        now = now_ms()
        self._index += 1
        effect, outcome = self._evaluator.evaluate(request, self._index, now)
        self._waiting.append(Entry(self._index, 1, effect, born_ms=now))
        ack = ack_of(request, "name", pb.Outcome.FromString(outcome))
        return pb.Ack.FromString(ack.SerializeToString())

    def settle(self):
        with self.replica.write() as transaction:
            for entry in self._waiting:
                apply(transaction, entry)
        self._waiting.clear()
        self._evaluator.applied(self._index)
