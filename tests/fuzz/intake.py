"""Requests of programs with the token and of workers, to a node that leads: none is answered twice, none ends it."""

from __future__ import annotations

from django_hacache.wire import cache_pb2 as pb

from .life import play
from .world import World

CLIENT, WORKER, TICK, RESTART = range(4)
KINDS = 4


def run(data: bytes) -> None:
    play(data, lambda told, directory: World(told, directory, "alone"), step)


def step(world, kind, who, payload):
    match kind % KINDS:
        case 0:
            world.asked += 1
            world.node._request_handler.take(
                pb.CacheRequest.FromString(payload), world.reply, trusted_ids=False
            )
        case 1:
            world.asked += 1
            world.node._from_worker(pb.CacheRequest.FromString(payload), world.reply)
        case 3:
            world.restart()
