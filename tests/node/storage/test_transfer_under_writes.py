"""A replica that is written to while it is on its way."""

from __future__ import annotations

import asyncio

import pytest

from django_hacache.consensus.config import CoreConfig
from django_hacache.consensus.core import Core
from django_hacache.consensus.hard_state import HardState, Installing
from django_hacache.consensus.log import Log
from django_hacache.consensus.messages import Entry
from django_hacache.consensus.ready import Ready
from django_hacache.node.evaluation.evaluator import Evaluator
from django_hacache.node.storage.storage import Storage
from django_hacache.wire import cache_pb2 as pb
from tests.node.storage.transferring import INDEX, TERM, Link, Target, fill
from tests.replica.writing import digest


class Writer:
    """A leader that goes on writing: decides, applies and remembers for the follower's log."""

    def __init__(self, replica, rng):
        self.replica, self.rng = replica, rng
        self.evaluator, self.storage = Evaluator(replica), Storage(replica)
        self.hard = HardState("a", TERM)
        self.index, self.log = INDEX, []

    def write(self):
        kind = self.rng.choice(("set", "set", "del", "incr", "touch", "keep", "clear"))
        names = {"cache_name": self.rng.choice(("a", "default")), "entry": f"key{self.rng.randrange(300):06}"}
        change = {
            "set": lambda: pb.Insert(**names, value=bytes(self.rng.choice((10, 1000, 300_000)))),
            "del": lambda: pb.Remove(**names),
            "incr": lambda: pb.Insert(**names, value=b"1"),
            "touch": lambda: pb.Touch(**names, ttl_ms=3_600_000),
            "keep": lambda: pb.Insert(**names, value=b"2", keep_ttl=True),
            "clear": lambda: pb.Clear(cache_name="a"),
        }[kind]()
        if kind == "clear" and self.rng.random() < 0.9:
            return
        request = pb.CacheRequest()
        name = {pb.Insert: "insert", pb.Remove: "remove", pb.Touch: "touch", pb.Clear: "clear"}[type(change)]
        getattr(request, name).CopyFrom(change)
        self.index += 1
        effect, outcome = self.evaluator.evaluate(request, self.index, 1000)
        entry = Entry(self.index, 1, effect, f"r{self.index}", outcome, born_ms=1000)
        self.log.append(entry)
        self.storage.write(Ready(entries=[entry], apply=[entry]), self.hard, 0)
        self.evaluator.applied(self.index)


class LaggingTarget(Target):
    """A follower with the rules of the core, whose log comes in its own time."""

    def __init__(self, replica, writer, rng):
        super().__init__(replica)
        self.writer, self.rng = writer, rng
        config = CoreConfig("b:2", ("a:1", "c:3"))
        evaluator = Evaluator(replica)
        self.core = Core(
            config, self.hard, Log(INDEX, 1), applied=INDEX, evaluator=evaluator, now_ms=0, rng=rng
        )

    @property
    def installing(self):
        return self.core.hard.installing

    def part_arrives(self, sender, term, arrived):
        part = arrived and arrived.part
        requests = self.storage.requests_with(arrived) if part and part.last else ()
        state = self.core.state
        if arrived is not None and not part.follows(self.installing):
            return False
        if arrived is not None:
            state.harden(installing=Installing(part.upto, part.index, part.last))
            assert requests is not None
        self.log_comes(self.rng.randrange(20))
        self.store(arrived)
        return True

    def log_comes(self, count):
        state = self.core.state
        for entry in self.writer.log[state.log.last_index - INDEX :][:count]:
            state.log.append(entry)
            state.ready.entries.append(entry)
        state.commit_to(state.log.last_index)
        state.apply_bytes_max = 1 << 30  # all of it in one Ready
        state.apply_committed()
        self.core.installation.finish()

    def store(self, arrived=None):
        ready, self.core.state.ready = self.core.state.ready, Ready()
        self.storage.write(ready, self.core.hard, 0, arrived)


@pytest.mark.parametrize("seed", range(8))
def test_a_replica_that_is_written_to_meanwhile_arrives_as_it_is_at_the_end(replica, copy, rng, seed):
    rng.seed(seed)
    fill(replica, *[rng.choice((10, 3000)) for _ in range(300)])
    writer = Writer(replica, rng)

    async def transfer():
        target = LaggingTarget(copy, writer, rng)
        link = Link(replica, target)
        while link.ended.empty():
            for _ in range(rng.randrange(20)):
                writer.write()
            await link.bring()
            await asyncio.sleep(0)
            target.log_comes(rng.randrange(40))
            target.store()
        assert await link.ended.get()
        target.log_comes(100_000)
        target.store()
        return target.core.state.applied

    assert asyncio.run(transfer()) == writer.index
    assert digest(copy) == digest(replica)
