"""Time that is told: the replica's clock, the node's, and that of the event loop."""

from __future__ import annotations

import asyncio
import sys
from contextlib import contextmanager
from typing import Any

from django_hacache.replica import clock

START_NS = 1_000_000_000_000


class ToldClock:
    def __init__(self):
        self.ns = START_NS

    def __call__(self):
        return self.ns

    def pass_ms(self, ms):
        self.ns += ms * 1_000_000

    @property
    def ms(self):
        return self.ns // 1_000_000


class ToldLoop(asyncio.SelectorEventLoop):
    """Never waits: whoever runs it has always something to do, and time passes when it is told to."""

    def __init__(self, told: ToldClock) -> None:
        self._told = told
        super().__init__()

    def time(self):
        return self._told.ns / 1e9


@contextmanager
def told_clock():
    """In the block every module of the project asks one ToldClock for the time since boot."""
    told, real = ToldClock(), clock.boottime_ns
    modules: list[Any] = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("django_hacache.") and getattr(module, "boottime_ns", None) is real
    ]
    for module in modules:
        module.boottime_ns = told
    try:
        yield told
    finally:
        for module in modules:
            module.boottime_ns = real
