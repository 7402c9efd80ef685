"""A leader without its transports, and the changes that tests ask it for."""

from __future__ import annotations

from django_hacache.consensus.messages import Entry
from django_hacache.node.evaluation.evaluator import Evaluator
from django_hacache.node.storage.effects import apply
from django_hacache.replica.clock import boottime_ns
from django_hacache.values.serializers import (
    decode,
    encode,
    integer_to_bytes,
)
from django_hacache.wire import cache_pb2 as pb

TAKEN = (True, pb.REASON_NONE)
HOUR_MS = 3_600_000


class Leader:
    """A evaluator whose changes stand in the order until they are applied to its replica."""

    def __init__(self, replica, **given):
        self.replica = replica
        self.evaluator = Evaluator(replica, **given)
        self.waiting = []
        self.index = 0

    def with_(self, **given):
        """A leader of the same replica that is given something else."""
        return Leader(self.replica, **given)

    def ask(self, **change):
        """Order a change; return its outcome."""
        self.index += 1
        now = boottime_ns() // 1_000_000
        effect, outcome = self.evaluator.evaluate(pb.CacheRequest(**change), self.index, now)
        self.waiting.append(Entry(self.index, 1, effect, born_ms=now))
        return pb.Outcome.FromString(outcome)

    def decide(self, **change):
        """Order a change; return whether it takes effect, and why not."""
        outcome = self.ask(**change)
        return outcome.mod_res[0], outcome.reason

    def remove_keys(self, *keys):
        """The effects of an eviction."""
        self.index += 1
        return self.evaluator.removal("default", keys, self.index, 0)

    def latest(self):
        """The effects of the change that was ordered last."""
        return [one.WhichOneof("effect") for one in pb.Effects.FromString(self.waiting[-1].effect).effects]

    def apply(self):
        with self.replica.write() as transaction:
            for entry in self.waiting:
                apply(transaction, entry)
        self.waiting.clear()
        self.evaluator.applied(self.index)

    def holds(self, entry="key"):
        """The value in the replica, or None."""
        value = self.replica.get("default", entry)
        return None if value is None else decode(value)


def change_to(value, entry="key", **more):
    return pb.Insert(cache_name="default", entry=entry, value=encode(value), **more)


def added(value, entry="key"):
    return change_to(value, entry, condition=pb.CONDITION_ABSENT)


def removed(entry="key"):
    return pb.Remove(cache_name="default", entry=entry)


def raised_by(delta, entry="key"):
    return pb.Increment(cache_name="default", entry=entry, delta=integer_to_bytes(delta))


def cleared():
    return pb.Clear(cache_name="default")


def unchanged_since(version, value):
    return change_to(value, condition=pb.CONDITION_UNCHANGED, expected_version=version)


def batch(*changes):
    kinds = {
        pb.Insert: "insert",
        pb.Remove: "remove",
        pb.Clear: "clear",
        pb.Increment: "increment",
        pb.Touch: "touch",
    }
    return pb.Batch(changes=[pb.Change(**{kinds[type(one)]: one}) for one in changes])


def overlay_of(leader):
    overlay = leader.evaluator.overlay
    return (
        {cache: dict(known) for cache, known in overlay.pending.items()},
        dict(overlay.cleared),
        list(overlay.order),
    )
