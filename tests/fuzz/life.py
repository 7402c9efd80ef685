"""Plays a life: the steps of an input, one after the other, in a world and in a told time."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from .clock import ToldLoop, told_clock
from .steps import steps_of
from .world import SHARED

if TYPE_CHECKING:
    from collections.abc import Callable

LEAP_MS = 100


def play(data: bytes, world_of: Callable, step: Callable) -> None:
    """Raises whatever is wrong: an exception that the node let out, or a promise that it broke."""
    with told_clock() as told, tempfile.TemporaryDirectory(prefix="fuzz-", dir=SHARED) as made:
        loop = ToldLoop(told)
        unhandled = []
        loop.set_exception_handler(lambda _, context: unhandled.append(context))
        try:
            loop.run_until_complete(
                _play(data, told, lambda: world_of(told, Path(made) / "location"), step, unhandled)
            )
        finally:
            loop.close()


async def _play(data, told, world_of, step, unhandled) -> None:
    world = world_of()
    try:
        for kind, who, after_ms, payload in steps_of(data):
            for leap in [LEAP_MS] * min(after_ms // LEAP_MS, 30) + [after_ms % LEAP_MS]:
                told.pass_ms(leap)
                await world.turn()
            with contextlib.suppress(DecodeError):  # the transports end the connection
                going_on = step(world, kind, who, payload)
                if going_on is not None:
                    await going_on
            await world.turn()
            _raise(unhandled)
            world.check()
        told.pass_ms(LEAP_MS)
        await world.turn()
        world.check()
        world.check_stored()
        world.restart()
        await world.turn()
        world.check()
        _raise(unhandled)
    finally:
        await world.close()


def _raise(unhandled) -> None:
    for context in unhandled:
        raise context.get("exception") or AssertionError(context["message"])
